import { Controller } from "vendor/stimulus";

const ENDS = { done: "Answer finished", stopped: "Stopped", interrupted: "The answer was interrupted", failed: "The answer failed", unfollowed: "This page no longer follows the answer" };

/** Tells listeners in a word what happens to answers. The text itself is never read out as it streams. */
export default class extends Controller {
  initialize() {
    this.heard = new Set(); // answers that were announced as being written
  }

  thread({ detail: messages }) {
    for (const message of messages) this.#tell(message);
  }

  message({ detail: message }) {
    this.#tell(message);
  }

  #tell({ id, live, state }) {
    if (live && !this.heard.has(id)) {
      this.heard.add(id);
      this.element.textContent = "Answering…";
    } else if (!live && this.heard.delete(id)) {
      this.element.textContent = ENDS[state];
    }
  }
}
