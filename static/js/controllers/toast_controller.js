import { Controller } from "vendor/stimulus";
import { clone } from "models/dom";

const SHOWN = 4000; // ms; twice as long when there is something to decide

/** Short words at the foot of the page that leave by themselves, unless someone is at them. */
export default class extends Controller {
  show({ detail: { message, action } }) {
    const box = clone("toast");
    const [act, close] = box.querySelectorAll("button");
    box.querySelector("p").textContent = message;
    close.onclick = () => box.remove();
    if (action) this.#offer(box, act, action);
    this.element.replaceChildren(box);
    this.#leave(box, action ? 2 * SHOWN : SHOWN);
  }

  #offer(box, button, { label, run }) {
    button.hidden = false;
    button.textContent = label;
    button.onclick = () => {
      box.remove();
      run();
    };
  }

  #leave(box, after) {
    setTimeout(() => (box.matches(":hover, :focus-within") ? this.#leave(box, SHOWN) : box.remove()), after);
  }
}
