import { Controller } from "vendor/stimulus";
import { copy, toast } from "models/dom";
import { Pen } from "models/pen";
import { drawnLine, droppedLine, endingLine, tokens } from "models/phrases";

const rendering = import("models/markdown"); // half of the page's script: asked for at once, and nothing else waits for it

/** One message. Its article carries the message itself, and `sourceText`, exactly what was written. */
export default class extends Controller {
  static targets = ["body", "ending", "endingWords", "goOn", "copy", "good", "bad", "switcher", "previous", "next", "count", "made", "dropped"];

  initialize() {
    this.pen = new Pen(() => this.#draw());
  }

  async connect() {
    const { MarkdownView } = await rendering;
    if (!this.element.isConnected) return;
    if (this.assistant) this.view ??= new MarkdownView(this.bodyTarget, document.getElementById("code-box"));
    if (this.element.early) this.pen.later();
    else this.pen.now();
  }

  disconnect() {
    this.pen.stop();
  }

  get message() {
    return this.element.message;
  }

  get assistant() {
    return this.element.dataset.role === "assistant";
  }

  changed() {
    this.pen.ask({ urgent: !this.message.live });
  }

  async copy() {
    const copied = await copy(this.element.sourceText);
    toast(copied ? "Copied" : "The browser did not allow copying. Select the text instead.");
  }

  rate({ params: { value } }) {
    this.dispatch("rate", { detail: { article: this.element, value } });
  }

  regenerate() {
    this.dispatch("regenerate", { detail: { id: this.message.id } });
  }

  goOn() {
    this.dispatch("continue", { detail: { id: this.message.id } });
  }

  step({ params: { step } }) {
    const { siblings, id } = this.message;
    this.dispatch("show", { detail: { id: siblings[siblings.indexOf(id) + step] } });
  }

  #draw() {
    this.#drawSwitcher();
    if (!this.assistant) return void (this.bodyTarget.textContent = this.message.text);
    if (!this.view) return; // it draws as soon as it can
    if (this.message.live) this.view.update(this.message.text);
    else this.view.finish(this.message.text);
    this.#drawState();
    this.#drawRating();
  }

  #drawState() {
    const { message } = this;
    const ending = message.live ? "" : endingLine(message);
    this.droppedTarget.hidden = !message.dropped;
    this.droppedTarget.lastElementChild.textContent = droppedLine(message.dropped);
    this.endingTarget.hidden = !ending;
    this.endingWordsTarget.textContent = ending;
    this.goOnTarget.hidden = !message.canContinue;
    this.goOnTarget.lastElementChild.textContent = message.text === "" ? "Ask again" : "Continue";
    this.element.toggleAttribute("data-wordless", message.text === "");
    const made = [this.element.modelLabel, message.outputTokens && tokens(message.outputTokens), drawnLine(message.sampling)];
    this.madeTarget.textContent = made.filter(Boolean).join(" · ");
  }

  #drawRating() {
    const value = this.message.rating?.value;
    this.goodTarget.setAttribute("aria-pressed", value === 1);
    this.badTarget.setAttribute("aria-pressed", value === -1);
  }

  #drawSwitcher() {
    const { siblings, id } = this.message;
    const at = siblings.indexOf(id);
    this.switcherTarget.hidden = siblings.length < 2;
    this.countTarget.textContent = `${at + 1} / ${siblings.length}`;
    this.previousTarget.disabled = at === 0;
    this.nextTarget.disabled = at === siblings.length - 1;
  }
}
