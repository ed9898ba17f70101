import { Controller } from "vendor/stimulus";
import { OVER } from "models/socket";
import { sendable } from "models/text";

/** Keeps what is typed, under its person and conversation, until the server has it. */
export default class extends Controller {
  static targets = ["input"];

  ready({ detail: { page, drafts } }) {
    Object.assign(this, { drafts, conversation: page.conversation?.id ?? null });
    const { pending } = drafts; // sent again by now
    this.inputTarget.value ||= pending?.conversation === this.conversation ? pending.text : drafts.read(this.conversation);
  }

  keep() {
    this.drafts.write(this.conversation, this.inputTarget.value);
  }

  connection({ detail: { state } }) {
    this.over = OVER.has(state); // and a logout took the drafts along
    this.rescue();
    if (state === "other_person") this.#hide();
  }

  /** The logout was in another tab, and what is written here is to be here after the next login. */
  rescue() {
    if (this.over && this.inputTarget.value) this.keep();
  }

  /** This tab logs out: nothing is left to be kept. */
  forget() {
    this.inputTarget.value = "";
  }

  /** The text is the server's now. What was typed meanwhile stays. */
  sent({ detail: { text } }) {
    if (sendable(this.inputTarget.value) === text) this.inputTarget.value = "";
    this.keep();
  }

  /** A new conversation was made from what is shown, or (`shown` false) somewhere else. */
  moved({ detail: { conversation, shown } }) {
    if (shown) this.conversation = conversation.id;
  }

  /** The shown conversation was deleted. */
  reset() {
    this.conversation = null;
  }

  /** Whoever has the page now neither reads what was written nor adds to it. */
  #hide() {
    this.inputTarget.value = "";
    this.inputTarget.readOnly = true;
  }
}
