import { Controller } from "vendor/stimulus";
import { Api, csrfToken } from "models/api";
import { toast } from "models/dom";

/** Light, dark or as the system: shown at once, and kept with the person's preferences. */
export default class extends Controller {
  static targets = ["option"];

  connect() {
    this.#check(document.documentElement.dataset.theme);
  }

  async choose({ target: { value: theme } }) {
    const before = document.documentElement.dataset.theme;
    document.documentElement.dataset.theme = theme;
    try {
      await new Api({ base: "/api/v1/", token: csrfToken() }).patch("me/preferences/", { theme });
    } catch (error) {
      document.documentElement.dataset.theme = before;
      this.#check(before);
      toast(`The theme was not saved. ${error.message}`);
    }
  }

  #check(theme) {
    for (const option of this.optionTargets) option.checked = option.value === theme;
  }
}
