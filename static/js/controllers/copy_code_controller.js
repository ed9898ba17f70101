import { Controller } from "vendor/stimulus";

const SHOWN = 1600; // ms

/** Copies the code of its box. */
export default class extends Controller {
  async copy({ currentTarget: button }) {
    const copied = await navigator.clipboard.writeText(this.element.querySelector("code").textContent).then(() => true, () => false);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy code"), SHOWN);
  }
}
