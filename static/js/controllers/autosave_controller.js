import { Controller } from "vendor/stimulus";
import { Api, csrfToken } from "models/api";
import { savePreference } from "models/preferences";

const PAUSE = 600; // ms without a key before a text is saved

/**
 * Settings that are saved as they are changed, each with a word that says whether it has been: a person's preferences, or
 * of what stands at the API's `path`. Kinds of settings that are no texts: lines (a list), flag, number.
 */
export default class extends Controller {
  static targets = ["setting"];
  static values = { path: String };

  connect() {
    this.api = new Api({ base: "/api/v1/", token: csrfToken() });
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
      if (this.pathValue) await this.api.patch(this.pathValue, { [name]: meant(setting, value) });
      else await savePreference(name, value);
      this.saved.set(setting, value);
      say(setting, "saved", "Saved");
    } catch (error) {
      say(setting, "failed", `Not saved: ${error.fields[name]?.[0] ?? error.message}`);
    }
  }
}

const KINDS = {
  lines: (text) => text.split("\n").map((line) => line.trim()).filter(Boolean),
  flag: (text) => text === "true",
  number: (text) => (text.trim() === "" ? null : /^\d+$/.test(text.trim()) ? Number(text) : text),
};

function meant({ dataset }, value) {
  return KINDS[dataset.kind]?.(value) ?? (dataset.kind ? null : value);
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
