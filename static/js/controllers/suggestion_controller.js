import { Controller } from "vendor/stimulus";

/** Something to begin with, sent as it stands. */
export default class extends Controller {
  pick({ currentTarget }) {
    this.dispatch("pick", { detail: { text: currentTarget.textContent.trim() } });
  }
}
