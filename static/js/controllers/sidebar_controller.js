import { Controller } from "vendor/stimulus";

const NARROW = matchMedia("(max-width: 50rem)");

/** The sidebar: a column on wide windows, a drawer on narrow ones; and the keys that reach into it. */
export default class extends Controller {
  static targets = ["panel", "main", "search", "newChat", "opener", "hint"];

  connect() {
    if (/Mac|iPhone|iPad/.test(navigator.platform)) this.hintTarget.textContent = "⌘K";
  }

  open() {
    if (NARROW.matches) return this.#drawer(true);
    this.#remember("open");
    this.panelTarget.querySelector("button").focus();
  }

  close() {
    if (NARROW.matches) return this.#drawer(false);
    this.#remember("closed");
    this.openerTarget.focus();
  }

  shortcut(event) {
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Escape" && this.isDrawerOpen) return this.#drawer(false);
    if (command && !event.shiftKey && event.key.toLowerCase() === "k") this.#search(event);
    if (command && event.shiftKey && event.key.toLowerCase() === "o") this.#newChat(event);
  }

  get isDrawerOpen() {
    return document.documentElement.dataset.drawer === "open";
  }

  #search(event) {
    event.preventDefault();
    this.open();
    this.searchTarget.focus();
    this.searchTarget.select();
  }

  #newChat(event) {
    event.preventDefault();
    this.newChatTarget.click();
  }

  #drawer(open) {
    document.documentElement.dataset.drawer = open ? "open" : "closed";
    this.mainTarget.inert = open;
    if (open) this.panelTarget.querySelector("a, button").focus();
    else this.openerTarget.focus();
  }

  #remember(state) {
    document.documentElement.dataset.sidebar = state;
    try {
      localStorage.setItem("sidebar", state);
    } catch {
      // Storage is refused: the choice lasts as long as the page.
    }
  }
}
