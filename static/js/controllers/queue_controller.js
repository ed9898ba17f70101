import { Controller } from "vendor/stimulus";
import { busyLine, waitingLine } from "models/phrases";

/** While an answer waits for its turn: the place in line, how long it takes, and a way out. */
export default class extends Controller {
  static targets = ["panel", "words", "busy", "cancel"];

  connect() {
    this.draw();
  }

  changed() {
    this.draw();
  }

  cancel() {
    this.cancelTarget.disabled = true;
    this.dispatch("cancel");
  }

  draw() {
    const { message, servedModel } = this.element;
    this.panelTarget.hidden = !message.waits;
    if (!message.waits) return void this.#reset();
    this.wordsTarget.textContent = waitingLine(message.position, servedModel);
    // Once said it stays, though the wait may come down and up again around where it begins to be worth a word.
    this.busyTarget.textContent ||= busyLine(message.position, servedModel);
    this.busyTarget.hidden = this.busyTarget.textContent === "";
  }

  #reset() {
    this.busyTarget.textContent = "";
    this.cancelTarget.disabled = false;
  }
}
