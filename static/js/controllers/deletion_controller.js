import { Controller } from "vendor/stimulus";
import { rowOf } from "models/chat_list";
import { toast } from "models/dom";

/** Deleting conversations of the list, here or in another tab, each with its own undo. The focus stays among the rows. */
export default class extends Controller {
  initialize() {
    this.mine = new Set(); // ids of those deleted here: this tab is told of them as well
  }

  ready({ detail: { api } }) {
    this.api = api;
  }

  async delete({ detail: { item } }) {
    const row = described(item);
    this.mine.add(row.id);
    neighbour(item).focus();
    item.hidden = true;
    if (!(await this.#try(this.api.delete(path(row))))) return this.#keep(item);
    this.#offerUndo(`Deleted “${row.title}”`, row);
    this.dispatch("removed", { detail: { id: row.id } });
  }

  /** Deleted in another tab, perhaps by mistake. */
  lost({ detail: { id } }) {
    if (this.mine.has(id)) return;
    const item = [...this.element.querySelectorAll("li")].find(({ dataset }) => dataset.id === id);
    if (!item) return toast("This chat was deleted in another tab");
    const row = described(item);
    if (item.contains(document.activeElement)) neighbour(item).focus();
    this.#offerUndo(`“${row.title}” was deleted in another tab`, row);
  }

  #keep(item) {
    this.mine.delete(item.dataset.id);
    item.hidden = false;
  }

  #offerUndo(words, row) {
    toast(words, { label: "Undo", run: () => this.#restore(row) });
  }

  async #restore(row) {
    const conversation = await this.#try(this.api.post(`${path(row)}restore/`));
    if (!conversation) return;
    this.mine.delete(row.id);
    this.dispatch("restored", { detail: { conversation, shown: false } });
    const link = this.element.querySelector(`[data-id="${row.id}"] a`);
    if (row.shown) link.click();
    else link.focus();
  }

  /** What `request` brings, or true; when it fails say why, and return false. */
  async #try(request) {
    try {
      return (await request) ?? true;
    } catch (error) {
      toast(error.message);
      return false;
    }
  }
}

function described(item) {
  return { ...rowOf(item), shown: item.querySelector("a").ariaCurrent !== null };
}

/** What takes the focus when a row goes: the next row, else the one before it, else "New chat". */
function neighbour(item) {
  const links = [...item.closest("#conversations").querySelectorAll("li:not([hidden]) a"), ...document.querySelectorAll(".new-chat")];
  const at = links.indexOf(item.querySelector("a"));
  return links.length > 2 && at === links.length - 2 ? links[at - 1] : links[at + 1];
}

function path({ id }) {
  return `conversations/${id}/`;
}
