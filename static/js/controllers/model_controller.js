import { Controller } from "vendor/stimulus";
import { modelLine } from "models/phrases";

/** Says what keeps the model from answering: that it loads, how far, or that there is none. */
export default class extends Controller {
  static targets = ["words", "bar"];

  ready({ detail: { page } }) {
    this.#draw(page.model);
  }

  show({ detail: model }) {
    this.#draw(model);
  }

  #draw(model) {
    const line = modelLine(model);
    const moving = ["starting", "downloading", "loading"].includes(model.state);
    this.element.hidden = line === "";
    this.wordsTarget.textContent = moving ? `${line}. You can write already; the answer comes when it is ready.` : `${line}.`;
    this.barTarget.hidden = !moving;
    this.barTarget.value = model.progress;
  }
}
