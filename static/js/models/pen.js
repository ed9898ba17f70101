const REST = 4; // times as long as drawing took: so much is left to everything else before the next time

/** Draws when asked, once in an animation frame at most; what is slow to draw is drawn less often while it is not urgent. */
export class Pen {
  #frame = null;
  #timer = null;
  #rested = 0;

  constructor(draw, page = globalThis) {
    Object.assign(this, { draw, page });
  }

  /** Draw with the next frame, or as soon as the pen has rested. */
  ask({ urgent }) {
    if (urgent) this.#cancelTimer();
    const tired = !urgent && this.page.performance.now() < this.#rested;
    if (tired) this.#timer ??= this.page.setTimeout(() => this.#frameSoon(), this.#rested - this.page.performance.now());
    else this.#frameSoon();
  }

  /** Draw some time soon, when nothing else is to be done. */
  later() {
    this.#timer ??= this.page.setTimeout(() => this.now());
  }

  now() {
    this.stop();
    const began = this.page.performance.now();
    this.draw();
    const ended = this.page.performance.now();
    this.#rested = ended + REST * (ended - began);
  }

  stop() {
    this.page.cancelAnimationFrame(this.#frame);
    this.#frame = null;
    this.#cancelTimer();
  }

  #frameSoon() {
    this.#cancelTimer();
    this.#frame ??= this.page.requestAnimationFrame(() => this.now());
  }

  #cancelTimer() {
    this.page.clearTimeout(this.#timer);
    this.#timer = null;
  }
}
