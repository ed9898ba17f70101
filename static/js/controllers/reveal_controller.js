import { Controller } from "vendor/stimulus";

/** Shows and hides what is typed in a password field. */
export default class extends Controller {
  static targets = ["input", "button"];

  connect() {
    this.buttonTarget.hidden = false;
  }

  toggle() {
    const shown = this.inputTarget.type === "text";
    this.inputTarget.type = shown ? "password" : "text";
    this.buttonTarget.textContent = shown ? "Show" : "Hide";
    this.inputTarget.focus();
  }
}
