import { Controller } from "vendor/stimulus";

/** Groups the digits of whole numbers: 12400 as 12,400. */
export default class extends Controller {
  static targets = ["number"];

  numberTargetConnected(element) {
    element.textContent = Number(element.textContent).toLocaleString("en");
  }
}
