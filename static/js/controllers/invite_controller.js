import { Controller } from "vendor/stimulus";
import { copy, toast } from "models/dom";
import { addresses, day, makeRow, openApi } from "models/rows";

/** Invitations and links: made, sent again, copied, taken back. */
export default class extends Controller {
  static targets = ["emails", "role", "submit", "trouble", "open", "openList", "links", "linkList"];
  static values = { api: String };

  connect() {
    this.api = openApi();
    this.#look();
  }

  async send(event) {
    event.preventDefault();
    const emails = addresses(this.emailsTarget.value);
    if (emails.length === 0) return this.#say("Write at least one e-mail address.");
    this.submitTarget.disabled = true;
    const made = await this.#try(() => this.api.post(`${this.apiValue}invitations/`, { emails, role: this.roleTarget.value }));
    this.submitTarget.disabled = false;
    if (!made) return;
    this.emailsTarget.value = "";
    this.#say("");
    const left = new Set(emails.map((email) => email.toLowerCase())).size - made.results.length;
    toast(`${made.results.length === 1 ? "1 invitation" : `${made.results.length} invitations`} sent${left ? `, ${left} are members or invited already` : ""}`);
    this.#look();
  }

  async link() {
    if (await this.#try(() => this.api.post(`${this.apiValue}links/`, { role: this.roleTarget.value }))) this.#look();
  }

  async again({ target }) {
    const { id, email } = target.closest("li").item;
    if (await this.#try(() => this.api.post(`${this.apiValue}invitations/${id}/again/`))) toast(`Sent again to ${email}`);
    this.#look();
  }

  revoke({ target }) {
    return this.#drop(target, "invitations");
  }

  close({ target }) {
    return this.#drop(target, "links");
  }

  async copy({ target }) {
    toast((await copy(target.closest("li").item.url)) ? "Copied" : "The browser did not allow copying. Select the link instead.");
  }

  async #drop(target, kind) {
    const row = target.closest("li");
    if (!(await this.#try(() => this.api.delete(`${this.apiValue}${kind}/${row.item.id}/`).then(() => true)))) return;
    this.emailsTarget.focus();
    this.#look();
  }

  async #look() {
    const open = await this.#try(() => this.api.get(`${this.apiValue}invitations/`));
    if (open) this.#fill(this.openTarget, this.openListTarget, open.results.map(invitationRow));
    if (!this.element.querySelector('[data-action="invite#link"]')) return;
    const links = await this.#try(() => this.api.get(`${this.apiValue}links/`));
    if (links) this.#fill(this.linksTarget, this.linkListTarget, links.results.map(linkRow));
  }

  #fill(section, list, rows) {
    section.hidden = rows.length === 0;
    list.replaceChildren(...rows);
  }

  #say(words) {
    this.troubleTarget.hidden = !words;
    this.troubleTarget.textContent = words;
    this.emailsTarget.ariaInvalid = Boolean(words);
  }

  async #try(act) {
    try {
      return await act();
    } catch (error) {
      const wrong = Object.values(error.fields ?? {}).flat()[0];
      this.#say([error.message, wrong].filter(Boolean).join(" "));
      return null;
    }
  }
}

function invitationRow(item) {
  const { row, parts } = makeRow("invitation-row");
  row.item = item;
  parts.email.textContent = item.email;
  parts.more.textContent = `${item.role} · ${item.state === "expired" ? "expired" : `until ${day(item.expires)}`}${item.by ? ` · by ${item.by}` : ""}`;
  return row;
}

function linkRow(item) {
  const { row, parts } = makeRow("link-row");
  row.item = item;
  parts.url.textContent = item.url;
  parts.more.textContent = `${item.role} · ${item.used}${item.limit ? ` of ${item.limit}` : ""} joined · until ${day(item.expires)}`;
  return row;
}
