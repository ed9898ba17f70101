import { Controller } from "vendor/stimulus";
import { tooLong } from "models/phrases";
import { codePoints } from "models/stream";

const SIZES_ITSELF = CSS.supports("field-sizing", "content"); // else measured here, which costs a layout
const SLOW = 400; // ms after which sending is worth a word

/** The message box: Enter sends, Shift+Enter breaks the line, Send becomes Stop while an answer is written. */
export default class extends Controller {
  static targets = ["input", "send", "stop", "hint", "model"];

  ready({ detail: { page, drafts } }) {
    this.limit = page.limits.characters;
    this.drafts = drafts;
    this.conversation = page.conversation?.id ?? null;
    if (!this.inputTarget.value) this.inputTarget.value = drafts.pending?.text ?? drafts.read(this.conversation);
    this.#draw();
  }

  typed() {
    this.drafts.write(this.conversation, this.inputTarget.value);
    this.#draw();
  }

  key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    this.submit(event);
  }

  submit(event) {
    event.preventDefault();
    const obstacle = this.#obstacle();
    if (obstacle) return this.#say(obstacle);
    this.#sending(true);
    const model = this.hasModelTarget ? this.modelTarget.value : null;
    this.dispatch("send", { detail: { text: this.inputTarget.value, model } });
  }

  stop() {
    this.dispatch("stop");
    this.inputTarget.focus();
  }

  escape(event) {
    const overlay = document.querySelector("dialog[open], :popover-open");
    if (!this.stopTarget.hidden && !overlay && !event.defaultPrevented) this.stop();
  }

  /** A suggestion was chosen. */
  take({ detail: { text } }) {
    this.inputTarget.value = text;
    this.typed();
    this.element.requestSubmit();
  }

  answering({ detail: { answering } }) {
    this.busy = answering;
    this.stopTarget.hidden = !answering;
    this.sendTarget.hidden = answering;
    this.#draw();
  }

  /** The text is the server's now. What was typed meanwhile stays. */
  sent({ detail: { text } }) {
    this.#sending(false);
    if (this.inputTarget.value === text) this.inputTarget.value = "";
    this.#draw();
  }

  refused() {
    this.#sending(false);
    this.#draw();
  }

  /** The page shows another conversation now: a new one was made, or the shown one deleted. */
  moved({ detail }) {
    if (detail.shown !== false) this.conversation = detail.conversation?.id ?? null;
  }

  #obstacle() {
    const text = this.inputTarget.value;
    if (!text.trim()) return "Write a message first";
    if (this.waiting) return "Sending…";
    if (this.busy) return "Wait for the answer, or stop it with Esc";
    return tooLong(codePoints(text), this.limit);
  }

  #sending(sending) {
    this.waiting = sending;
    clearTimeout(this.slow);
    this.sendTarget.ariaBusy = sending;
    if (sending) this.slow = setTimeout(() => this.#say("Sending…"), SLOW);
  }

  #draw() {
    this.sendTarget.ariaDisabled = Boolean(this.#obstacle());
    this.#say(tooLong(codePoints(this.inputTarget.value), this.limit));
    if (!SIZES_ITSELF) this.#resize();
  }

  #resize() {
    this.inputTarget.style.height = "auto";
    this.inputTarget.style.height = `${this.inputTarget.scrollHeight}px`;
  }

  #say(words) {
    this.hintTarget.textContent = words;
  }
}
