import { Controller } from "vendor/stimulus";

/** Shows the report as soon as another period or model is chosen; the button is for pages without scripts. */
export default class extends Controller {
  static targets = ["button"];

  connect() {
    this.buttonTarget.hidden = true;
  }

  submit() {
    this.element.requestSubmit();
  }
}
