import { obstacle, sendingLine, tooLong } from "models/phrases";
import { codePoints } from "models/stream";
import { sendable } from "models/text";

/**
 * Whether a message may be sent now, and why not. `limit` is in code points; `now` is the clock, in milliseconds;
 * `connection` the state of the connection, as chat:connection tells it.
 */
export class Gate {
  #heldUntil = 0;
  #timer = null;

  constructor({ limit, now = Date.now }) {
    Object.assign(this, { limit, now, sending: false, answering: false, connection: "up" });
  }

  /** Not to be sent again before so many milliseconds are over; `then` hears that they are. */
  hold(milliseconds, then = () => {}) {
    clearTimeout(this.#timer);
    this.#heldUntil = this.now() + milliseconds;
    this.#timer = setTimeout(then, milliseconds);
  }

  obstacle(typed) {
    const { limit, sending, answering, connection } = this;
    const text = sendable(typed);
    const refused = Math.max(0, this.#heldUntil - this.now()) / 1000;
    return obstacle({ text, length: codePoints(text), limit, sending, answering, refused, connection });
  }

  /** What is worth a word while it is being written. */
  warning(typed) {
    if (this.sending && this.connection !== "up") return sendingLine(this.connection);
    return tooLong(codePoints(sendable(typed)), this.limit);
  }
}
