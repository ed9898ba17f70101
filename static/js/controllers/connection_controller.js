import { Controller } from "vendor/stimulus";
import { connectionLine } from "models/phrases";

const PATIENCE = 1000; // ms; a shorter gap is not worth a word
const BRIEF = new Set(["down", "restarting"]);

/** Says what has become of the connection and what to do about it, and falls silent when it is back. */
export default class extends Controller {
  static targets = ["words", "network", "door", "way"];
  static values = { login: String, suspended: String, factor: String };

  disconnect() {
    clearTimeout(this.timer);
  }

  changed({ detail: { state } }) {
    this.state = state;
    if (state === "up") return this.#hide();
    if (!this.element.hidden || !BRIEF.has(state)) return this.#show();
    this.timer ??= setTimeout(() => this.#show(), PATIENCE);
  }

  #hide() {
    clearTimeout(this.timer);
    this.timer = null;
    this.element.hidden = true;
  }

  #show() {
    const { words, way, to } = connectionLine(this.state, this.element.closest("[data-answering]") !== null);
    if (this.wordsTarget.textContent !== words) this.wordsTarget.textContent = words;
    this.networkTarget.hidden = way !== null;
    this.doorTarget.hidden = this.wayTarget.hidden = way === null;
    this.wayTarget.textContent = way;
    this.wayTarget.href = { login: this.#login, suspended: this.suspendedValue, factor: this.factorValue }[to] ?? "/";
    this.element.hidden = false;
  }

  /** Back to this page afterwards. */
  get #login() {
    return `${this.loginValue}?next=${encodeURIComponent(location.pathname)}`;
  }
}
