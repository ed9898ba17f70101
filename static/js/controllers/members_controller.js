import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { day, makeRow, openApi, PagedList, PAUSE } from "models/rows";

/** Everybody in a workspace: searched on the server, changed one by one, each change with a word about it. */
export default class extends Controller {
  static targets = ["list", "search", "total", "empty", "more"];
  static values = { api: String, me: Number };

  connect() {
    this.api = openApi();
    this.list = new PagedList({ api: this.api, path: `${this.apiValue}members/`, draw: (found, page) => this.#draw(found, page) });
    this.look();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), PAUSE);
  }

  look() {
    return this.#try(() => this.list.search(this.searchTarget.value.trim()));
  }

  more() {
    return this.#try(() => this.list.more());
  }

  async role({ target }) {
    const { member, path } = this.#of(target);
    if (await this.#try(() => this.api.patch(path, { role: target.value }))) {
      member.role = target.value;
      toast(`${member.name} is ${target.selectedOptions[0].label.toLowerCase()} now`);
    } else target.value = member.role;
  }

  async suspend({ target }) {
    const { member, row, path } = this.#of(target);
    const changed = await this.#try(() => this.api.patch(path, { suspended: !member.suspended }));
    if (!changed) return;
    const { row: anew } = this.#row(changed);
    row.replaceWith(anew);
    anew.querySelector('[data-part="suspend"]').focus();
    toast(changed.suspended ? `${member.name} is out until you let them in again` : `${member.name} may enter again`);
  }

  /** Asks once, in the button itself. */
  async remove({ target }) {
    const { member, row, path } = this.#of(target);
    if (!target.dataset.sure) return this.#ask(target, member);
    if (!(await this.#try(() => this.api.delete(path).then(() => true)))) return;
    (row.nextElementSibling ?? row.previousElementSibling)?.querySelector("select, button")?.focus();
    row.remove();
    toast(`${member.name} is no longer a member`);
    this.look();
  }

  #ask(button, member) {
    button.dataset.sure = "yes";
    button.textContent = "Really remove?";
    button.title = `${member.name} loses access and their API keys here`;
    setTimeout(() => Object.assign(button, { textContent: "Remove" }) && delete button.dataset.sure, 4000);
  }

  #of(target) {
    const row = target.closest("li");
    return { row, member: row.member, path: `${this.apiValue}members/${row.member.id}/` };
  }

  #draw({ results, next, total }, page) {
    const rows = results.map((member) => this.#row(member).row);
    if (page === 1) this.listTarget.replaceChildren(...rows);
    else this.listTarget.append(...rows);
    this.listTarget.ariaBusy = "false";
    this.totalTarget.textContent = total.toLocaleString("en");
    this.emptyTarget.hidden = total > 0;
    this.emptyTarget.textContent = "Nobody is called that here.";
    this.moreTarget.hidden = next === null;
  }

  #row(member) {
    const { row, parts } = makeRow("member-row");
    row.member = member;
    row.toggleAttribute("data-out", member.suspended);
    parts.name.textContent = member.name;
    parts.email.textContent = [member.email, member.suspended ? "suspended" : `since ${day(member.joined)}`].join(" · ");
    parts.role.value = member.role;
    parts.role.ariaLabel = `Role of ${member.name}`;
    parts.suspend.textContent = member.suspended ? "Let in" : "Suspend";
    parts.role.disabled = member.role === "owner" && parts.role.querySelector("[value=owner]").hidden;
    if (member.id === this.meValue || parts.role.disabled) for (const part of ["suspend", "remove"]) parts[part].remove();
    return { row, parts };
  }

  async #try(act) {
    try {
      return await act();
    } catch (error) {
      toast(error.message);
      return null;
    }
  }
}
