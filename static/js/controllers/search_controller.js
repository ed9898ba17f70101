import { Controller } from "vendor/stimulus";
import { clone } from "models/dom";

const PAUSE = 180; // ms without a key before the server is asked

/** Finds conversations by title and text. An answer that comes after a newer question is dropped. */
export default class extends Controller {
  static values = { list: String, results: String };

  ready({ detail: { api } }) {
    this.api = api;
  }

  type() {
    clearTimeout(this.timer);
    const words = this.element.value.trim();
    if (!words) return this.#show(null);
    this.timer = setTimeout(() => this.#find(words), PAUSE);
  }

  clear() {
    this.element.value = "";
    this.#show(null);
    this.element.blur();
  }

  async #find(words) {
    const found = await this.api.get(`conversations/?q=${encodeURIComponent(words)}`).catch((error) => ({ error }));
    if (words !== this.element.value.trim()) return;
    if (found.error) return this.#show([], found.error.message);
    this.#show(found.results, found.results.length ? "" : `Nothing found for “${words}”.`);
  }

  /** `results` null: the whole list again. */
  #show(results, words = "") {
    const [list, box] = [this.listValue, this.resultsValue].map((selector) => document.querySelector(selector));
    list.hidden = results !== null;
    box.hidden = results === null;
    box.querySelector("p").textContent = words;
    box.querySelector("ul").replaceChildren(...(results ?? []).map(build));
  }
}

function build({ title, url }) {
  const item = clone("search-result");
  Object.assign(item.querySelector("a"), { href: url, textContent: title || "New chat" });
  return item;
}
