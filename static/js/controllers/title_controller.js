import { Controller } from "vendor/stimulus";

/** The shown conversation's title, at the head of the page and in the browser's tab. */
export default class extends Controller {
  static values = { id: String, brand: String };

  begin({ detail: { conversation, shown } }) {
    if (shown) this.idValue = conversation.id;
    if (shown) this.#write(conversation.title);
  }

  show({ detail: { id, title } }) {
    if (id === this.idValue) this.#write(title);
  }

  reset() {
    this.idValue = "";
    this.#write("");
  }

  #write(title) {
    this.element.textContent = title;
    document.title = `${title || "New chat"} · ${this.brandValue}`;
  }
}
