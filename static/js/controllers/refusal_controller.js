import { Controller } from "vendor/stimulus";
import { keptLine, retryIn, retryLine } from "models/phrases";

/** A request was refused: why, and when it may be repeated, counting down. */
export default class extends Controller {
  static targets = ["message", "retry", "again"];

  disconnect() {
    clearInterval(this.timer);
  }

  show({ detail }) {
    const { error, draft, elsewhere } = detail;
    this.since = Date.now();
    this.messageTarget.textContent = error.message;
    this.element.dataset.code = error.code;
    this.element.toggleAttribute("data-lasting", !error.retry_after || Boolean(error.resets_at));
    this.againTarget.hidden = !draft || elsewhere || !error.retry_after || Boolean(error.resets_at);
    this.element.hidden = false;
    clearInterval(this.timer);
    this.#count(detail);
    if (error.retry_after) this.timer = setInterval(() => this.#count(detail), 1000);
  }

  hide() {
    clearInterval(this.timer);
    this.element.hidden = true;
  }

  again() {
    this.dispatch("again");
  }

  #count({ error, ...kept }) {
    const elapsed = Date.now() - this.since;
    this.againTarget.disabled = retryIn(error, elapsed) > 0;
    if (!this.againTarget.disabled) clearInterval(this.timer);
    this.retryTarget.textContent = [retryLine(error, elapsed), keptLine(kept)].filter(Boolean).join(" ");
  }
}
