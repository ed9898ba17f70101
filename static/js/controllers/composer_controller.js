import { Controller } from "vendor/stimulus";
import { fit } from "models/dom";
import { Gate } from "models/gate";
import { sends } from "models/keys";

const TOUCH = matchMedia("(pointer: coarse) and (hover: none)");

/** The message box: Enter sends, Shift+Enter breaks the line; while an answer is written, Stop takes the place of Send. */
export default class extends Controller {
  static targets = ["input", "send", "hint", "model"];
  gate = new Gate({ limit: Infinity });

  ready({ detail: { page, drafts } }) {
    this.gate.limit = page.limits.characters;
    this.inputTarget.enterKeyHint = TOUCH.matches ? "enter" : "send";
    this.#sending(drafts.pending !== null); // sent again by now
  }

  typed() {
    this.#draw();
  }

  key(event) {
    if (sends(event, TOUCH.matches)) this.submit(event);
  }

  submit(event) {
    event.preventDefault();
    const words = this.gate.obstacle(this.inputTarget.value);
    if (words) return void (this.hintTarget.textContent = words);
    this.#sending(true);
    this.dispatch("send", { detail: { text: this.inputTarget.value, model: this.hasModelTarget ? this.modelTarget.value : null } });
  }

  /** A suggestion was chosen. */
  take({ detail: { text } }) {
    this.inputTarget.value = text;
    this.inputTarget.dispatchEvent(new Event("input", { bubbles: true }));
    this.element.requestSubmit();
  }

  answering({ detail: { answering } }) {
    this.gate.answering = answering;
    this.sendTarget.hidden = answering;
    this.#draw();
  }

  connection({ detail: { state } }) {
    this.gate.connection = state;
    this.#draw();
  }

  sent() {
    this.#sending(false);
  }

  /** Not to be sent again before its time. A day's quota may be raised meanwhile, so that one is always worth a try. */
  refused({ detail: { error, draft } }) {
    if (!draft) return;
    if (error.retry_after && !error.resets_at) this.gate.hold(error.retry_after * 1000, () => this.#draw());
    this.#sending(false);
  }

  /** The wait is over and the person says so. */
  again() {
    this.gate.hold(0);
    this.element.requestSubmit();
  }

  /** The shown conversation was deleted. */
  reset() {
    this.inputTarget.focus();
  }

  #sending(sending) {
    this.gate.sending = sending;
    this.sendTarget.ariaBusy = sending;
    this.#draw();
  }

  #draw() {
    this.sendTarget.ariaDisabled = Boolean(this.gate.obstacle(this.inputTarget.value));
    this.hintTarget.textContent = this.gate.warning(this.inputTarget.value);
    fit(this.inputTarget);
  }
}
