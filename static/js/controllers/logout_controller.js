import { Controller } from "vendor/stimulus";
import { forget } from "models/drafts";

/** Logging out takes along what this person had typed: the next one at this browser is somebody else. */
export default class extends Controller {
  static values = { person: String };

  forget() {
    forget(this.personValue, [() => localStorage, () => sessionStorage]);
    this.dispatch("forgotten");
  }
}
