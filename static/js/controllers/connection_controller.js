import { Controller } from "vendor/stimulus";

const PATIENCE = 1000; // ms; a shorter gap is not worth a word
const WORDS = {
  down: "Connection lost. Reconnecting…",
  logged_out: "You have been logged out. Load the page to log in again; your draft is kept.",
  not_found: "You are no longer a member of this workspace.",
};

/** Says when the connection has been lost for a while, and falls silent when it is back. */
export default class extends Controller {
  static targets = ["words"];

  disconnect() {
    clearTimeout(this.timer);
  }

  changed({ detail: { state } }) {
    if (state === "down" && this.timer) return;
    clearTimeout(this.timer);
    this.timer = null;
    if (state === "up") this.element.hidden = true;
    else this.timer = setTimeout(() => this.#show(state), state === "down" ? PATIENCE : 0);
  }

  #show(state) {
    const answering = state === "down" && this.element.closest("[data-answering]");
    this.wordsTarget.textContent = WORDS[state] + (answering ? " Your answer goes on being written." : "");
    this.element.hidden = false;
  }
}
