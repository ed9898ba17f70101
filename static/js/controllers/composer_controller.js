import { Controller } from "vendor/stimulus";
import { fit } from "models/dom";
import { obstacle, tooLong } from "models/phrases";
import { codePoints } from "models/stream";

const SIZES_ITSELF = CSS.supports("field-sizing", "content"); // else measured here, which costs a layout

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
    const words = this.#obstacle();
    if (words) return void (this.hintTarget.textContent = words);
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

  /** Not to be sent again before its time. A day's quota may be raised meanwhile, so that one is always worth a try. */
  refused({ detail: { error, draft } }) {
    this.#sending(false);
    if (draft && error.retry_after && !error.resets_at) this.#hold(error.retry_after * 1000);
  }

  /** The wait is over and the person says so. */
  again() {
    this.#hold(0);
    this.element.requestSubmit();
  }

  /** A new conversation was made from what is shown, or (`shown` false) somewhere else. */
  moved({ detail: { conversation, shown } }) {
    if (shown) this.conversation = conversation.id;
  }

  /** The shown conversation was deleted. */
  reset() {
    this.conversation = null;
    this.inputTarget.focus();
  }

  #obstacle() {
    const { value: text } = this.inputTarget;
    const refused = Math.max(0, (this.heldUntil ?? 0) - Date.now()) / 1000;
    return obstacle({ text, length: codePoints(text), limit: this.limit, sending: this.waiting, answering: this.busy, refused });
  }

  #hold(milliseconds) {
    clearTimeout(this.held);
    this.heldUntil = Date.now() + milliseconds;
    this.held = setTimeout(() => this.#draw(), milliseconds);
    this.#draw();
  }

  #sending(sending) {
    this.waiting = sending;
    this.sendTarget.ariaBusy = sending;
  }

  #draw() {
    this.sendTarget.ariaDisabled = Boolean(this.#obstacle());
    this.hintTarget.textContent = tooLong(codePoints(this.inputTarget.value), this.limit);
    if (!SIZES_ITSELF) fit(this.inputTarget);
  }
}
