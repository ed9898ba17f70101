import { Controller } from "vendor/stimulus";

/** What the page calls its person, as it is changed in another tab. */
export default class extends Controller {
  static targets = ["name"];
  static values = { email: String };

  follow({ detail: { name, value } }) {
    if (name === "display_name") this.nameTarget.textContent = value || this.emailValue.split("@")[0];
  }
}
