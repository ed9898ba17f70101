import { Controller } from "vendor/stimulus";
import { copy } from "models/dom";

const SHOWN = 1600; // ms

/** Copies the code of its box. */
export default class extends Controller {
  async copy({ currentTarget: button }) {
    const copied = await copy(this.element.querySelector("code").textContent);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy code"), SHOWN);
  }
}
