import { Controller } from "vendor/stimulus";
import { write } from "models/dom";
import { Pen } from "models/pen";
import { thoughtLine } from "models/phrases";

/** What the model thought before its answer, folded until the reader asks. */
export default class extends Controller {
  static targets = ["panel", "words", "text"];

  initialize() {
    this.pen = new Pen(() => this.#draw());
  }

  connect() {
    this.pen.now();
  }

  disconnect() {
    this.pen.stop();
  }

  changed() {
    this.pen.ask({ urgent: !this.element.message.live });
  }

  #draw() {
    const { message } = this.element;
    this.panelTarget.hidden = message.thought === "";
    this.panelTarget.toggleAttribute("data-thinks", message.thinks);
    this.wordsTarget.textContent = thoughtLine(message);
    write(this.textTarget, message.thought);
  }
}
