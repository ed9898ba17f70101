import { Controller } from "vendor/stimulus";
import { retryLine } from "models/phrases";

/** A request was refused: why, and when it may be repeated, counting down. */
export default class extends Controller {
  static targets = ["message", "retry"];

  disconnect() {
    clearInterval(this.timer);
  }

  show({ detail: { error, draft } }) {
    this.since = Date.now();
    this.messageTarget.textContent = error.message;
    this.element.hidden = false;
    clearInterval(this.timer);
    this.#count(error, draft);
    if (error.retry_after) this.timer = setInterval(() => this.#count(error, draft), 1000);
  }

  hide() {
    clearInterval(this.timer);
    this.element.hidden = true;
  }

  #count(error, draft) {
    this.retryTarget.textContent = [retryLine(error, Date.now() - this.since), draft && "Your message is kept."].filter(Boolean).join(" ");
  }
}
