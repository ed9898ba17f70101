import { Controller } from "vendor/stimulus";
import { fit } from "models/dom";
import { Gate } from "models/gate";

const SIZES_ITSELF = CSS.supports("field-sizing", "content"); // else measured here, which costs a layout

/** The message box: Enter sends, Shift+Enter breaks the line; while an answer is written, Stop takes the place of Send. */
export default class extends Controller {
  static targets = ["input", "send", "hint", "model"];
  gate = new Gate({ limit: Infinity });

  ready({ detail: { page, drafts } }) {
    this.gate.limit = page.limits.characters;
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
    const words = this.gate.obstacle(this.inputTarget.value);
    if (words) return void (this.hintTarget.textContent = words);
    this.#sending(true);
    const model = this.hasModelTarget ? this.modelTarget.value : null;
    this.dispatch("send", { detail: { text: this.inputTarget.value, model } });
  }

  /** A suggestion was chosen. */
  take({ detail: { text } }) {
    this.inputTarget.value = text;
    this.typed();
    this.element.requestSubmit();
  }

  answering({ detail: { answering } }) {
    this.gate.answering = answering;
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

  #hold(milliseconds) {
    clearTimeout(this.held);
    this.gate.hold(milliseconds);
    this.held = setTimeout(() => this.#draw(), milliseconds);
    this.#draw();
  }

  #sending(sending) {
    this.gate.sending = sending;
    this.sendTarget.ariaBusy = sending;
  }

  #draw() {
    this.sendTarget.ariaDisabled = Boolean(this.gate.obstacle(this.inputTarget.value));
    this.hintTarget.textContent = this.gate.warning(this.inputTarget.value);
    if (!SIZES_ITSELF) fit(this.inputTarget);
  }
}
