import { mayPass, pause } from "models/trying";

/**
 * Frames behind which nobody waits: `open`, `subscribe`, `stop`, `ping`. A refused one is sent again with growing pauses,
 * unless it never can succeed. They end with the connection: on the next one everything is asked anew.
 */
export class Errands {
  #open = new Map(); // what a frame is about -> the newest errand: {frame, make, never, failed}

  /** `write(frame)` sends a frame and returns it with its ref; `later(run, ms)` is the clock. */
  constructor({ write, later, random }) {
    Object.assign(this, { write, later, random });
  }

  /** `make()` gives the frame as of now, or null when it is not wanted any more; `never(error)` hears that it cannot be. */
  run(make, never = () => {}) {
    this.#send({ make, never, failed: 0 });
  }

  /** Take an `error` frame; false when it belongs to none of these. */
  refused({ ref, error }) {
    const errand = [...this.#open.values()].find(({ frame }) => frame.ref === ref);
    if (!errand) return false;
    if (mayPass(error)) this.#sendLater(errand, error);
    else this.#drop(errand).never(error);
    return true;
  }

  lost() {
    this.#open.clear();
  }

  #send(errand) {
    const frame = errand.make();
    if (!frame) return this.#drop(errand);
    errand.frame = this.write(frame);
    this.#open.set(subject(frame), errand);
  }

  #sendLater(errand, { retry_after }) {
    const wait = Math.max(pause(errand.failed++, this.random), 1000 * (retry_after ?? 0));
    this.later(() => this.#newest(errand) && this.#send(errand), wait);
  }

  #drop(errand) {
    if (this.#newest(errand)) this.#open.delete(subject(errand.frame));
    return errand;
  }

  #newest(errand) {
    return errand.frame && this.#open.get(subject(errand.frame)) === errand;
  }
}

function subject({ type, message, conversation }) {
  return [type, message ?? conversation].join(" ");
}
