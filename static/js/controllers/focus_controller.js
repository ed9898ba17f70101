import { Controller } from "vendor/stimulus";

const TOUCHED = matchMedia("(hover: none)"); // the message box would bring up the keyboard

/**
 * Where the focus goes when what had it leaves the page or is hidden: to the same button of the message that took its
 * place, otherwise to the message box. Without this it falls to the body, and a keyboard begins at the top again.
 */
export default class extends Controller {
  static targets = ["home", "calm"];

  connect() {
    this.observer = new MutationObserver(() => this.#soon());
    const attributeFilter = ["hidden", "disabled", "open", "data-answering", "data-state"];
    this.observer.observe(this.element, { subtree: true, childList: true, attributes: true, attributeFilter });
    if (document.activeElement !== document.body) this.remember({ target: document.activeElement }); // before we were here
  }

  disconnect() {
    this.observer.disconnect();
  }

  /** What has the focus now, and its place among the messages. */
  remember({ target }) {
    const article = target.closest("[data-message-id]");
    this.last = { element: target, name: target.ariaLabel, at: article ? placeOf(article) : -1 };
  }

  /** The reader put the focus nowhere. */
  forget({ target }) {
    if (!target.closest("a, button, input, textarea, select, label, summary, [tabindex]")) this.last = null;
  }

  /** The browser lets go of an element that was hidden with its next frame. */
  #soon() {
    if (!this.last || this.waiting) return;
    this.waiting = true;
    requestAnimationFrame(() => setTimeout(() => this.#restore()));
  }

  #restore() {
    this.waiting = false;
    const lost = [document.body, this.last?.element].includes(document.activeElement); // perhaps not let go of as yet
    if (!this.last || !lost || canFocus(this.last.element)) return;
    const home = TOUCHED.matches ? this.calmTarget : this.homeTarget;
    (this.#twin() ?? home).focus({ preventScroll: true });
  }

  #twin() {
    const { name, at } = this.last;
    const article = document.querySelectorAll("[data-message-id]")[at];
    const group = article?.querySelector(`[aria-label="${name}"]`)?.parentElement;
    return [...(group?.querySelectorAll("button") ?? [])].sort((a, b) => (b.ariaLabel === name) - (a.ariaLabel === name)).find(canFocus);
  }
}

function placeOf(article) {
  return [...document.querySelectorAll("[data-message-id]")].indexOf(article);
}

function canFocus(element) {
  return element.isConnected && !element.disabled && element.checkVisibility({ visibilityProperty: true });
}
