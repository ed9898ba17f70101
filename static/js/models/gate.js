import { obstacle, tooLong } from "models/phrases";
import { codePoints } from "models/stream";

/** Whether a message may be sent now, and why not. `limit` is in code points; `now` is the clock, in milliseconds. */
export class Gate {
  #heldUntil = 0;

  constructor({ limit, now = Date.now }) {
    Object.assign(this, { limit, now, sending: false, answering: false });
  }

  /** Not to be sent again before so many milliseconds are over. */
  hold(milliseconds) {
    this.#heldUntil = this.now() + milliseconds;
  }

  obstacle(text) {
    const { limit, sending, answering } = this;
    const refused = Math.max(0, this.#heldUntil - this.now()) / 1000;
    return obstacle({ text, length: codePoints(text), limit, sending, answering, refused });
  }

  /** What is worth a word while it is being written. */
  warning(text) {
    return tooLong(codePoints(text), this.limit);
  }
}
