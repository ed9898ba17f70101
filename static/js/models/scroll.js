const NEAR = 24; // px from the end within which a reader who scrolls down is taken along again

/** Decides whether the page follows the text that is being written. Scrolling up always wins, at once. */
export class Follower {
  following = true;
  #top = 0;
  #height = 0;

  /** After every scroll, by whomever: the scroller's measures in px. */
  scrolled({ top, height, viewport }) {
    const rest = height - viewport - top;
    const movedUp = top < this.#top && height >= this.#height;
    if (movedUp && rest > 1) this.following = false;
    else if (top > this.#top && rest <= NEAR) this.following = true;
    else if (rest <= 1) this.following = true;
    this.#top = top;
    this.#height = height;
  }

  /** The reader's hand went up (wheel, touch, key), before anything has moved. */
  yield() {
    this.following = false;
  }

  follow() {
    this.following = true;
  }
}
