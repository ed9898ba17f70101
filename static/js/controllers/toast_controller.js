import { Controller } from "vendor/stimulus";
import { clone } from "models/dom";

const SHOWN = 4000; // ms; twice as long when there is something to decide

/**
 * Short words at the foot of the page that leave by themselves, unless someone is at them or nobody has seen them yet. Each
 * that has something to decide keeps its place, but for what is asked `once`; of those and of the others there is one.
 */
export default class extends Controller {
  connect() {
    this.#raise();
  }

  /** A dialog has opened, which covers the page and makes all but itself inert, or closed. */
  move({ target }) {
    if (target.matches("dialog") && this.element.childElementCount) this.#raise();
  }

  show({ detail: { message, action } }) {
    const box = clone("toast");
    const [act, close] = box.querySelectorAll("button");
    box.querySelector("p").textContent = message;
    close.onclick = () => box.remove();
    const gone = action?.once ? ".toast:not([data-asks]), .toast[data-once]" : ".toast:not([data-asks])";
    this.element.querySelectorAll(gone).forEach((other) => other.remove());
    if (action) this.#offer(box, act, action);
    this.element.append(box);
    this.#raise();
    this.#leave(box, action ? 2 * SHOWN : SHOWN);
  }

  /** Above all that is open, and inside what makes all else inert. */
  #raise() {
    const host = document.querySelector("dialog:modal") ?? document.body;
    if (this.element.parentElement !== host) return host.append(this.element); // which connects it anew
    if (this.element.matches(":popover-open")) this.element.hidePopover();
    this.element.showPopover?.();
  }

  #offer(box, button, { label, run, once = false }) {
    box.toggleAttribute("data-asks", true);
    box.toggleAttribute("data-once", once);
    button.hidden = false;
    button.textContent = label;
    button.onclick = () => {
      box.remove();
      run();
    };
  }

  #leave(box, after) {
    setTimeout(() => (document.hidden || box.matches(":hover, :focus-within") ? this.#leave(box, SHOWN) : box.remove()), after);
  }
}
