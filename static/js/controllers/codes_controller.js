import { Controller } from "vendor/stimulus";
import { copy } from "models/dom";

const SHOWN = 1600; // ms

/** Copies a text that is shown once, or keeps it as a file. */
export default class extends Controller {
  static targets = ["text", "button"];
  static values = { name: String };

  connect() {
    for (const button of this.buttonTargets) button.hidden = false;
  }

  async copy({ currentTarget: button }) {
    button.textContent = (await copy(this.textTarget.textContent)) ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy"), SHOWN);
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${this.textTarget.textContent}\n`], { type: "text/plain" }));
    link.download = this.nameValue;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href));
  }
}
