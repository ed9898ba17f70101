import { Controller } from "vendor/stimulus";
import { copy, toast } from "models/dom";
import { endingLine, tokens } from "models/phrases";

const rendering = import("models/markdown"); // half of the page's script: asked for at once, and nothing else waits for it
const REST = 8; // times as long as drawing took: so much is left to everything else before the next one

/** One message. Its article carries the message itself, and `sourceText`, exactly what was written. */
export default class extends Controller {
  static targets = ["body", "ending", "endingWords", "goOn", "copy", "good", "bad", "switcher", "previous", "next", "count", "made"];

  async connect() {
    this.frame = null;
    const { MarkdownView } = await rendering;
    if (!this.element.isConnected) return;
    if (this.assistant) this.view ??= new MarkdownView(this.bodyTarget, document.getElementById("code-box"));
    if (this.element.early) this.timer = setTimeout(() => this.draw());
    else this.draw();
  }

  disconnect() {
    cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
  }

  get message() {
    return this.element.message;
  }

  get assistant() {
    return this.element.dataset.role === "assistant";
  }

  /** Several changes within one animation frame are drawn once; what is slow to draw is drawn less often. */
  changed() {
    this.frame ??= requestAnimationFrame((now) => (this.message.live && now < this.rested ? this.#wait() : this.draw()));
  }

  #wait() {
    this.frame = null;
    this.timer = setTimeout(() => this.changed(), this.rested - performance.now());
  }

  draw() {
    this.frame = null;
    clearTimeout(this.timer);
    const began = performance.now();
    this.#draw();
    this.rested = performance.now() + REST * (performance.now() - began);
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

  #drawState() {
    const { message } = this;
    const ending = message.live ? "" : endingLine(message);
    this.endingTarget.hidden = !ending;
    this.endingWordsTarget.textContent = ending;
    this.goOnTarget.hidden = !message.canContinue;
    this.goOnTarget.lastElementChild.textContent = message.text === "" ? "Ask again" : "Continue";
    this.element.toggleAttribute("data-wordless", message.text === "");
    this.madeTarget.textContent = [this.element.modelLabel, message.outputTokens && tokens(message.outputTokens)].filter(Boolean).join(" · ");
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
