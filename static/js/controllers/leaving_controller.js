import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { openApi } from "models/rows";

/** Leaving a workspace, deleting it by its name, and bringing it back. */
export default class extends Controller {
  static targets = ["dialog", "name", "confirm", "trouble"];
  static values = { api: String, name: String };

  connect() {
    this.api = openApi();
  }

  /** Asks once, in the button itself. */
  async leave({ target }) {
    if (!target.dataset.sure) {
      target.dataset.sure = "yes";
      target.textContent = "Really leave?";
      return;
    }
    await this.#go(() => this.api.delete(`${this.apiValue}me/`), "/settings/workspaces/");
    delete target.dataset.sure;
    target.textContent = "Leave";
  }

  ask() {
    this.dialogTarget.showModal();
    this.nameTarget.value = "";
    this.check();
  }

  keep() {
    this.dialogTarget.close();
  }

  check() {
    this.confirmTarget.disabled = this.nameTarget.value.trim() !== this.nameValue;
  }

  async close(event) {
    event.preventDefault();
    await this.#go(() => this.api.delete(this.apiValue, { name: this.nameTarget.value }), "/settings/workspaces/");
  }

  async restore() {
    await this.#go(() => this.api.post(`${this.apiValue}restore/`), "/settings/workspaces/");
  }

  async #go(act, on) {
    try {
      await act();
      location.assign(on);
    } catch (error) {
      if (!this.hasDialogTarget || !this.dialogTarget.open) return toast(error.message);
      this.troubleTarget.hidden = false;
      this.troubleTarget.textContent = error.message;
    }
  }
}
