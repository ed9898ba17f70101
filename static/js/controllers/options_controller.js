import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { composes } from "models/keys";
import { sendable } from "models/text";

/** The menu of one conversation, shared by all rows of the list: rename and delete. */
export default class extends Controller {
  static targets = ["menu"];

  ready({ detail: { api } }) {
    this.api = api;
  }

  choose({ currentTarget }) {
    this.item = currentTarget.closest("li");
  }

  rename() {
    this.menuTarget.hidePopover();
    const { item } = this;
    const link = item.querySelector("a");
    const input = Object.assign(document.createElement("input"), { value: link.textContent.trim(), maxLength: 200, ariaLabel: "Title" });
    link.hidden = true;
    item.prepend(input);
    input.select();
    input.addEventListener("keydown", (event) => this.#key(event, input));
    input.addEventListener("blur", () => this.#renamed(item, input), { once: true });
  }

  delete() {
    this.menuTarget.hidePopover();
    this.dispatch("delete", { detail: { item: this.item } });
  }

  #key(event, input) {
    event.stopPropagation();
    if (composes(event)) return;
    if (event.key === "Escape") input.value = "";
    if (event.key === "Enter" || event.key === "Escape") input.blur();
  }

  async #renamed(item, input) {
    const before = titleOf(item);
    const title = sendable(input.value).trim() || before;
    input.remove();
    item.querySelector("a").hidden = false;
    item.querySelector("a").focus();
    if (title === before) return;
    this.#tell(item, title);
    await this.api.patch(`conversations/${item.dataset.id}/`, { title }).catch((error) => {
      this.#tell(item, before);
      toast(error.message);
    });
  }

  #tell({ dataset: { id } }, title) {
    this.dispatch("title", { detail: { id, title } });
  }
}

function titleOf(item) {
  return item.querySelector("a").textContent.trim();
}
