import { Controller } from "vendor/stimulus";

const GAP = 6; // px

/** Puts a popover beside the button that opens it, inside the window. */
export default class extends Controller {
  open({ target: button }) {
    const invoker = button.closest("[popovertarget]");
    if (invoker) requestAnimationFrame(() => this.#place(invoker, document.getElementById(invoker.getAttribute("popovertarget"))));
  }

  #place(button, menu) {
    const from = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = menu;
    const below = from.bottom + GAP + height <= innerHeight;
    const top = below ? from.bottom + GAP : Math.max(GAP, from.top - GAP - height);
    const left = Math.min(from.left, innerWidth - width - GAP);
    Object.assign(menu.style, { top: `${top}px`, left: `${Math.max(GAP, left)}px` });
  }
}
