import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";

/** The menu of one conversation, shared by all rows of the list: rename, and delete with undo. */
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

  async delete() {
    this.menuTarget.hidePopover();
    const { item } = this;
    const place = document.createComment("deleted");
    item.replaceWith(place);
    const back = () => place.replaceWith(item);
    if (!(await this.#try(this.api.delete(path(item)), back))) return;
    toast(`Deleted “${titleOf(item)}”`, { label: "Undo", run: () => this.#restore(item, back) });
    this.dispatch("removed", { detail: { id: item.dataset.id } });
  }

  async #restore(item, back) {
    if (!(await this.#try(this.api.post(`${path(item)}restore/`)))) return;
    back();
    if (item.querySelector("a").ariaCurrent) item.querySelector("a").click();
  }

  #key(event, input) {
    event.stopPropagation();
    if (event.isComposing) return;
    if (event.key === "Escape") input.value = "";
    if (event.key === "Enter" || event.key === "Escape") input.blur();
  }

  async #renamed(item, input) {
    const before = titleOf(item);
    const title = input.value.trim() || before;
    input.remove();
    item.querySelector("a").hidden = false;
    item.querySelector("a").focus();
    if (title === before) return;
    this.#tell(item, title);
    await this.#try(this.api.patch(path(item), { title }), () => this.#tell(item, before));
  }

  #tell({ dataset: { id } }, title) {
    this.dispatch("title", { detail: { id, title } });
  }

  /** Await `request`; when it fails undo, say why, and return false. */
  async #try(request, undo = () => {}) {
    try {
      await request;
      return true;
    } catch (error) {
      undo();
      toast(error.message);
      return false;
    }
  }
}

function path({ dataset: { id } }) {
  return `conversations/${id}/`;
}

function titleOf(item) {
  return item.querySelector("a").textContent.trim();
}
