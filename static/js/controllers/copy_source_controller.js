import { Controller } from "vendor/stimulus";
import { selected } from "models/formulas";

/** A selection that holds formulas is copied with what they were written as. */
export default class extends Controller {
  copy(event) {
    const copied = selected(getSelection());
    if (!copied) return;
    event.preventDefault();
    event.clipboardData.setData("text/plain", copied.innerText);
    event.clipboardData.setData("text/html", copied.innerHTML);
    copied.remove();
  }
}
