import { Controller } from "vendor/stimulus";
import { usageLine } from "models/phrases";

const HIGH = 0.8; // share of the day's tokens from which the bar warns

/** How much of today's tokens is used. */
export default class extends Controller {
  static targets = ["words", "bar"];

  ready({ detail: { page } }) {
    this.#draw(page.usage);
  }

  show({ detail: usage }) {
    this.#draw(usage);
  }

  #draw(usage) {
    const share = usage.limit ? usage.used / usage.limit : 0;
    this.wordsTarget.replaceChildren(...usageLine(usage).split(" · ").flatMap((words) => [unbroken(words), " "]));
    this.barTarget.hidden = usage.limit === null;
    this.barTarget.value = Math.min(1, share);
    this.barTarget.dataset.level = share >= HIGH ? "high" : "low";
  }
}

/** A part of the line that is not broken inside; the dot before it is the style's, which hides it at a line's start. */
function unbroken(words) {
  return Object.assign(document.createElement("span"), { className: "unbroken", textContent: words });
}
