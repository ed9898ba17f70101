import { Controller } from "vendor/stimulus";
import { makePasskey, usePasskey } from "models/passkeys";

const WORDS = {
  InvalidStateError: "This device has a passkey of yours already.",
  NotAllowedError: "Nothing came of it: it was cancelled, or took too long.",
  SecurityError: "Passkeys need a secure address of this server, by its name.",
};

/** A form whose one answer is a passkey: made, or used. Options stand in the form, or are fetched where it goes to. */
export default class extends Controller {
  static targets = ["credential", "button", "trouble", "alone"];

  connect() {
    this.buttonTarget.hidden = !window.PublicKeyCredential;
  }

  make(event) {
    return this.#answer(event, (options) => makePasskey(options, this.aloneTarget.checked));
  }

  use(event) {
    return this.#answer(event, usePasskey);
  }

  async #answer(event, ask) {
    event.preventDefault();
    this.troubleTarget.hidden = true;
    this.buttonTarget.disabled = true;
    try {
      this.credentialTarget.value = JSON.stringify(await ask(await this.#options()));
      this.element.submit();
    } catch (error) {
      this.troubleTarget.textContent = WORDS[error.name] ?? "The server could not be reached. Try again.";
      this.troubleTarget.hidden = false;
      this.buttonTarget.disabled = false;
    }
  }

  async #options() {
    const written = this.element.querySelector("#passkey-options");
    if (written) return JSON.parse(written.textContent);
    const response = await fetch(this.element.action, { headers: { Accept: "application/json" } });
    if (!response.ok) throw new Error(`${response.status}`);
    return (await response.json()).request_options;
  }
}
