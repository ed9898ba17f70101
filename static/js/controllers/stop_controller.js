import { Controller } from "vendor/stimulus";
import { composes } from "models/keys";

/** Stop, in the place of Send while an answer is written. Escape does the same, unless it closes something first. */
export default class extends Controller {
  static values = { focus: String };

  answering({ detail: { answering } }) {
    this.element.hidden = !answering;
  }

  now() {
    this.dispatch("now");
    document.querySelector(this.focusValue).focus();
  }

  escape(event) {
    const overlay = document.querySelector("dialog[open], [popover=auto]:popover-open, [popover='']:popover-open");
    if (!this.element.hidden && !overlay && !event.defaultPrevented && !composes(event)) this.now();
  }
}
