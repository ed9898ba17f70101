import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";

const PAUSE = 600; // ms without a key before a comment is saved
const GOOD = 1;

/** Ratings of answers: a press rates, a second one undoes it, and the dialog says why. Everything is saved as it is done. */
export default class extends Controller {
  static targets = ["title", "reasons", "comment", "saved"];

  ready({ detail: { api } }) {
    this.api = api;
  }

  async rate({ detail: { article, value } }) {
    const { message } = article;
    if (message.rating?.value === value) return this.#undo(article);
    const saved = await this.#put(article, { value, reasons: [], comment: "" });
    if (!saved) return;
    if (value === GOOD) toast("Thanks, noted", { label: "Say why", run: () => this.#open(article) });
    else this.#open(article);
  }

  save() {
    const reasons = [...this.#shownReasons().querySelectorAll(":checked")].map(({ value }) => value);
    const { value } = this.article.message.rating;
    this.saving = this.#put(this.article, { value, reasons, comment: this.commentTarget.value.trim() });
    this.saving.then((saved) => (this.savedTarget.textContent = saved ? "Saved" : "Not saved. Try again."));
  }

  type() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** A comment typed in the last moment is saved as well. */
  closed() {
    if (this.commentTarget.value.trim() !== this.article.message.rating?.comment) this.save();
    clearTimeout(this.timer);
  }

  backdrop({ target }) {
    if (target === this.element) this.element.close();
  }

  #open(article) {
    if (!article.message.rating) return; // taken back while the toast still asked why
    this.article = article;
    const { value, reasons, comment } = article.message.rating;
    this.titleTarget.textContent = value === GOOD ? "What was good?" : "What was wrong?";
    for (const group of this.reasonsTargets) group.hidden = (group.dataset.kind === "good") !== (value === GOOD);
    for (const box of this.element.querySelectorAll("[type=checkbox]")) box.checked = reasons.includes(box.value);
    this.commentTarget.value = comment;
    this.savedTarget.textContent = "Saved as you go.";
    this.element.showModal();
  }

  #shownReasons() {
    return this.reasonsTargets.find((group) => !group.hidden);
  }

  #put(article, rating) {
    return this.#change(article, rating, this.api.put(path(article), rating));
  }

  #undo(article) {
    return this.#change(article, null, this.api.delete(path(article)));
  }

  /** Show `rating` at once, and the old one again when the server refuses. Returns whether it was saved. */
  async #change(article, rating, request) {
    const before = article.message.rating;
    show(article, rating);
    try {
      await request;
      return true;
    } catch (error) {
      show(article, before);
      toast(error.message);
      return false;
    }
  }
}

function path({ message }) {
  return `messages/${message.id}/rating/`;
}

function show(article, rating) {
  article.message.rating = rating;
  article.dispatchEvent(new CustomEvent("thread:changed"));
}
