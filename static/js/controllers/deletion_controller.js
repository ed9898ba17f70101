import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";

/** Deleting conversations of the list, here or in another tab, each with its own undo. */
export default class extends Controller {
  initialize() {
    this.mine = new Set(); // ids of those deleted here: this tab is told of them as well
  }

  ready({ detail: { api } }) {
    this.api = api;
  }

  async delete({ detail: { item } }) {
    this.mine.add(item.dataset.id);
    const back = takeOut(item);
    if (!(await this.#try(this.api.delete(path(item)), back))) return;
    this.#offerUndo(`Deleted “${titleOf(item)}”`, item, back);
    this.dispatch("removed", { detail: { id: item.dataset.id } });
  }

  /** Deleted in another tab, perhaps by mistake. */
  lost({ detail: { id } }) {
    if (this.mine.has(id)) return;
    const item = [...this.element.querySelectorAll("li")].find(({ dataset }) => dataset.id === id);
    if (item) this.#offerUndo(`“${titleOf(item)}” was deleted in another tab`, item, takeOut(item));
    else toast("This chat was deleted in another tab");
  }

  #offerUndo(words, item, back) {
    toast(words, { label: "Undo", run: () => this.#restore(item, back) });
  }

  async #restore(item, back) {
    if (!(await this.#try(this.api.post(`${path(item)}restore/`)))) return;
    back();
    this.mine.delete(item.dataset.id);
    if (item.querySelector("a").ariaCurrent) item.querySelector("a").click();
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

/** Returns what puts it back. */
function takeOut(item) {
  const place = document.createComment("deleted");
  item.replaceWith(place);
  return () => place.replaceWith(item);
}

function path({ dataset: { id } }) {
  return `conversations/${id}/`;
}

function titleOf(item) {
  return item.querySelector("a").textContent.trim();
}
