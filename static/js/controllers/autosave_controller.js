import { Controller } from "vendor/stimulus";
import { savePreference } from "models/preferences";

const PAUSE = 600; // ms without a key before a text is saved

/** Preferences that are saved as they are changed, each with a word that says whether it has been. */
export default class extends Controller {
  static targets = ["setting"];

  connect() {
    this.timers = new Map();
    this.saved = new Map();
    for (const setting of this.settingTargets) {
      this.saved.set(setting, fieldOf(setting).value);
      count(setting);
    }
    addEventListener("beforeunload", this.warn);
  }

  disconnect() {
    removeEventListener("beforeunload", this.warn);
  }

  submit(event) {
    event.preventDefault();
  }

  later({ target }) {
    const setting = target.closest("[data-name]");
    count(setting);
    clearTimeout(this.timers.get(setting));
    this.timers.set(setting, setTimeout(() => this.#save(setting), PAUSE));
  }

  now({ target }) {
    this.#save(target.closest("[data-name]"));
  }

  retry({ target }) {
    this.#save(target.closest("[data-name]"));
  }

  theme({ target }) {
    document.documentElement.dataset.theme = target.value;
  }

  /** It was changed in another tab. What is being written here stays. */
  follow({ detail: { name, value } }) {
    if (name === "theme") document.documentElement.dataset.theme = value;
    const setting = this.settingTargets.find(({ dataset }) => dataset.name === name);
    if (!setting || this.#unsaved(setting)) return;
    fieldOf(setting).value = value;
    this.saved.set(setting, fieldOf(setting).value);
    count(setting);
  }

  warn = (event) => {
    if (this.settingTargets.some((setting) => this.#unsaved(setting))) event.preventDefault();
  };

  #unsaved(setting) {
    return fieldOf(setting).value !== this.saved.get(setting);
  }

  async #save(setting) {
    clearTimeout(this.timers.get(setting));
    if (!this.#unsaved(setting)) return;
    const { value } = fieldOf(setting);
    const { name } = setting.dataset;
    say(setting, "saving", "Saving…");
    try {
      await savePreference(name, value);
      this.saved.set(setting, value);
      say(setting, "saved", "Saved");
    } catch (error) {
      say(setting, "failed", `Not saved: ${error.fields[name]?.[0] ?? error.message}`);
    }
  }
}

function fieldOf(setting) {
  return setting.querySelector("input, select, textarea");
}

function count(setting) {
  const counter = setting.querySelector("[data-count]");
  const { value, maxLength } = fieldOf(setting);
  if (counter) counter.textContent = `${value.length} / ${maxLength}`;
}

function say(setting, state, words) {
  const line = setting.querySelector(".saved");
  line.dataset.state = state;
  line.querySelector("[data-words]").textContent = words;
  const retry = line.querySelector("button");
  if (document.activeElement === retry && state !== "failed") fieldOf(setting).focus();
  retry.hidden = state !== "failed";
  fieldOf(setting).ariaInvalid = state === "failed";
}
