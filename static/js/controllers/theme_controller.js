import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { savePreference } from "models/preferences";

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
      await savePreference("theme", theme);
    } catch (error) {
      this.#show(before);
      toast(`The theme was not saved. ${error.message}`);
    }
  }

  /** It was changed in another tab. */
  follow({ detail: { name, value } }) {
    if (name === "theme") this.#show(value);
  }

  #show(theme) {
    document.documentElement.dataset.theme = theme;
    this.#check(theme);
  }

  #check(theme) {
    for (const option of this.optionTargets) option.checked = option.value === theme;
  }
}
