import { Controller } from "vendor/stimulus";

/** A notice that stays away, in this browser, once it was dismissed. */
export default class extends Controller {
  static values = { key: String };

  connect() {
    this.element.hidden = this.#dismissed();
  }

  dismiss() {
    this.element.hidden = true;
    try {
      localStorage.setItem(`dismissed:${this.keyValue}`, "yes");
    } catch {
      // Storage is refused: it comes back with the next page.
    }
  }

  #dismissed() {
    try {
      return localStorage.getItem(`dismissed:${this.keyValue}`) !== null;
    } catch {
      return false;
    }
  }
}
