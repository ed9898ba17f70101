import { Controller } from "vendor/stimulus";
import { drawGroups, markCurrent, rowOf } from "models/chat_list";
import { Chats } from "models/chats";
import { toast } from "models/dom";
import { Pages } from "models/pages";

const FIRST = 100; // as many as come with the page

/** The list of conversations of this person, last answered first, as it changes here, in other tabs and further down. */
export default class extends Controller {
  static targets = ["groups", "item", "more"];

  ready({ detail: { page, api } }) {
    this.api = api;
    this.shown = page.conversation?.id ?? null;
    const rows = this.itemTargets.map(rowOf);
    this.chats = new Chats(rows);
    this.older = new Pages(api, rows.length < FIRST ? null : `conversations/?${new URLSearchParams(after(rows.at(-1)))}`);
    this.observer = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.more(), { rootMargin: "200px" });
    this.#draw();
    this.observer.observe(this.moreTarget);
  }

  disconnect() {
    this.observer?.disconnect();
  }

  /** A conversation was begun in this tab, or came back. */
  add({ detail: { conversation, shown } }) {
    if (conversation.updated) this.chats.add([conversation]);
    else this.chats.touch(conversation);
    if (shown) this.shown = conversation.id;
    this.#draw();
  }

  /** The shown one is being answered. */
  answering({ detail: { answering } }) {
    if (!answering || !this.chats.get(this.shown) || this.chats.all[0].id === this.shown) return;
    this.chats.touch({ id: this.shown });
    this.#draw();
  }

  title({ detail: { id, title } }) {
    this.chats.rename(id, title);
    this.#draw();
  }

  removed({ detail: { id } }) {
    this.chats.remove(id);
    this.#draw();
    if (id === this.shown) this.dispatch("gone");
  }

  unmark() {
    this.shown = null;
    this.#draw();
  }

  /** The tab is looked at again, or heard nothing for a while. */
  async refresh() {
    if (!this.api || document.visibilityState === "hidden") return;
    const found = await this.api.get("conversations/").catch(() => null);
    if (found) this.chats.refresh(found.results, found.next === null);
    this.#draw();
  }

  connection({ detail: { state } }) {
    if (state === "up" && this.wasDown) this.refresh();
    this.wasDown = state === "down";
  }

  async more() {
    const rows = await this.older.more().catch((error) => void toast(error.message));
    if (!rows?.length) return this.#draw();
    this.chats.add(rows.filter(({ id }) => !this.chats.get(id)));
    this.#draw();
    this.observer.unobserve(this.moreTarget); // what has come may not fill the window
    this.observer.observe(this.moreTarget);
  }

  #draw() {
    drawGroups(this.groupsTarget, this.chats.groups, this.shown);
    markCurrent(document.querySelector(".new-chat"), this.shown === null);
    this.moreTarget.hidden = this.older.done;
  }
}

function after({ updated, id }) {
  return { before: updated, before_id: id };
}
