import { Controller } from "vendor/stimulus";
import { openApi } from "models/rows";

/** Makes a workspace and goes there. */
export default class extends Controller {
  static targets = ["name", "trouble"];

  async make(event) {
    event.preventDefault();
    try {
      const { url } = await openApi().post("workspaces/", { name: this.nameTarget.value });
      location.assign(url);
    } catch (error) {
      this.troubleTarget.hidden = false;
      this.troubleTarget.textContent = error.fields.name?.[0] ?? error.message;
    }
  }
}
