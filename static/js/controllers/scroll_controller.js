import { Controller } from "vendor/stimulus";
import { Follower } from "models/scroll";

const UPWARD = new Set(["ArrowUp", "PageUp", "Home"]);

/** Keeps the end in view while an answer grows, unless the reader has gone up to read. */
export default class extends Controller {
  static targets = ["scroller", "content", "jump"];

  initialize() {
    this.follower = new Follower();
    this.observer = new ResizeObserver(() => this.#settle());
  }

  connect() {
    this.observer.observe(this.contentTarget);
    this.observer.observe(this.scrollerTarget);
  }

  disconnect() {
    this.observer.disconnect();
  }

  scrolled() {
    const { scrollTop: top, scrollHeight: height, clientHeight: viewport } = this.scrollerTarget;
    this.follower.scrolled({ top, height, viewport });
    this.#drawJump();
  }

  wheel({ deltaY }) {
    if (deltaY < 0 && this.scrollerTarget.scrollTop > 0) this.follower.yield();
  }

  touch() {
    if (this.scrollerTarget.scrollTop > 0) this.follower.yield();
  }

  key({ key }) {
    if (UPWARD.has(key) && this.scrollerTarget.scrollTop > 0) this.follower.yield();
  }

  /** What the reader unfolds stays where it is, even at the end. */
  unfold({ target }) {
    if (!target.closest("summary")) return;
    this.follower.yield();
    requestAnimationFrame(() => setTimeout(() => this.scrolled()));
  }

  toEnd() {
    this.follower.follow();
    this.#settle();
  }

  /** Something has grown or shrunk, before it is painted. */
  #settle() {
    if (this.follower.following) this.scrollerTarget.scrollTop = this.scrollerTarget.scrollHeight;
    this.#drawJump();
  }

  #drawJump() {
    const { scrollTop, scrollHeight, clientHeight } = this.scrollerTarget;
    this.jumpTarget.hidden = this.follower.following || scrollHeight - clientHeight - scrollTop < clientHeight / 3;
  }
}
