import { Controller } from "vendor/stimulus";
import { clone } from "models/dom";

const UNTITLED = "New chat";

/** The list of conversations of this person, newest first, as it changes here and in other tabs. */
export default class extends Controller {
  static targets = ["groups", "item"];

  ready({ detail: { page } }) {
    this.shown = page.conversation?.id ?? null;
  }

  /** A conversation was begun in this tab. */
  add({ detail: { conversation, shown } }) {
    if (!this.#find(conversation.id)) this.#today().prepend(this.#build(conversation));
    if (shown) this.#mark(conversation.id);
  }

  title({ detail: { id, title } }) {
    const item = this.#find(id);
    if (!item) return;
    for (const part of item.querySelectorAll("a, [data-title]")) part.textContent = title || UNTITLED;
  }

  removed({ detail: { id } }) {
    this.#find(id)?.remove();
    if (id === this.shown) this.dispatch("gone");
  }

  unmark() {
    this.#mark(null);
  }

  #find(id) {
    return this.itemTargets.find((item) => item.dataset.id === id);
  }

  #build({ id, title, url }) {
    const item = clone("conversation-item");
    item.dataset.id = id;
    item.querySelector("a").href = url;
    for (const part of item.querySelectorAll("a, [data-title]")) part.textContent = title || UNTITLED;
    return item;
  }

  #mark(id) {
    this.shown = id;
    markCurrent(document.querySelector(".new-chat"), id === null);
    for (const item of this.itemTargets) markCurrent(item.querySelector("a"), item.dataset.id === id);
  }

  #today() {
    const first = this.groupsTarget.querySelector('[data-label="Today"]');
    if (first) return first.querySelector("ul");
    const group = clone("conversation-group");
    group.dataset.label = group.querySelector("h2").textContent = "Today";
    this.groupsTarget.prepend(group);
    return group.querySelector("ul");
  }
}

function markCurrent(link, current) {
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}
