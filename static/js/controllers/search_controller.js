import { Controller } from "vendor/stimulus";
import { clone } from "models/dom";
import { Pages } from "models/pages";
import { sendable } from "models/text";

const PAUSE = 180; // ms without a key before the server is asked
const STEPS = { ArrowDown: 1, ArrowUp: -1 };

/** Finds conversations by title and text. An answer that comes after a newer question is dropped. */
export default class extends Controller {
  static targets = ["input", "list", "results", "found", "more", "words"];

  ready({ detail: { api } }) {
    this.api = api;
    this.observer = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.more());
    this.observer.observe(this.moreTarget);
  }

  disconnect() {
    this.observer?.disconnect();
  }

  type() {
    clearTimeout(this.timer);
    const words = this.#words;
    this.pages = null;
    if (!words) return this.#show(false);
    this.timer = setTimeout(() => this.#find(words), PAUSE);
  }

  clear() {
    this.inputTarget.value = "";
    this.type();
    this.inputTarget.blur();
  }

  /** From the words down through what they found, and back. */
  walk(event) {
    const stops = [this.inputTarget, ...this.foundTarget.querySelectorAll("a"), ...(this.moreTarget.hidden ? [] : [this.moreTarget])];
    const at = stops.indexOf(event.target);
    if (this.resultsTarget.hidden || at < 0) return;
    if (event.key === "Escape") return this.#backToWords(event);
    const next = at === 0 ? stops[STEPS[event.key]] : ends(stops.slice(1))[event.key] ?? stops[at + STEPS[event.key]];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  async more() {
    if (!this.pages || !(await this.#read(this.pages, "append"))) return;
    this.observer.unobserve(this.moreTarget); // what has come may not fill the window
    this.observer.observe(this.moreTarget);
  }

  get #words() {
    return sendable(this.inputTarget.value).trim();
  }

  #backToWords(event) {
    event.stopPropagation();
    this.inputTarget.focus();
  }

  #find(words) {
    this.pages = new Pages(this.api, `conversations/?q=${encodeURIComponent(words)}`);
    return this.#read(this.pages, "replaceChildren");
  }

  /** Show the next of `pages`, if they are still wanted by then, and whether there was something. One without results
   *  need not be the last: the server answers soon, and goes on with older chats when asked again. */
  async #read(pages, how) {
    if (pages.asking) return false;
    const { results = [], error } = await pages.more().then((results) => ({ results }), (error) => ({ error }));
    if (pages !== this.pages) return false;
    this.#show(true);
    this.foundTarget[how](...results.map(build));
    const goesOn = !error && !results.length && !pages.done;
    const looking = goesOn && `Looking at chats before ${new Date(pages.since).toLocaleDateString(undefined, { dateStyle: "medium" })}…`;
    const nothing = pages.done && !this.foundTarget.childElementCount && `Nothing found for “${this.#words}”.`;
    this.wordsTarget.textContent = error?.message || looking || nothing || "";
    this.moreTarget.hidden = pages.done || goesOn;
    return goesOn ? this.#read(pages, "append") : results.length > 0;
  }

  #show(searching) {
    this.listTarget.hidden = searching;
    this.resultsTarget.hidden = !searching;
  }
}

/** Among the results Home and End lead to either end; in the words they are the browser's. */
function ends(results) {
  return { Home: results[0], End: results.at(-1) };
}

function build({ title, url }) {
  const item = clone("search-result");
  Object.assign(item.querySelector("a"), { href: url, textContent: title || "New chat" });
  return item;
}
