import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { Ratings } from "models/rating";

const PAUSE = 600; // ms without a key before a comment is saved
const GOOD = 1;

/** Ratings of answers: a press rates, the dialog says why and can take it back. Everything is saved as it is done. */
export default class extends Controller {
  static targets = ["title", "reasons", "comment", "saved"];

  ready({ detail: { api } }) {
    this.ratings = new Ratings({ api, show, complain: toast });
  }

  /** The lit thumb opens what was said; the other one changes sides and keeps it. */
  async rate({ detail: { article, value } }) {
    const { id, rating } = article.message;
    if (rating?.value === value) return this.#open(id);
    if (!(await this.ratings.put(id, this.ratings.turned(id, rating, value), rating))) return;
    if (value === GOOD) toast("Thanks, noted", { label: "Say why", run: () => this.#open(id) });
    else this.#open(id);
  }

  async save() {
    clearTimeout(this.timer);
    this.savedTarget.textContent = "Saving…";
    const saved = await this.ratings.put(this.id, this.#said(), this.rating);
    this.savedTarget.textContent = saved ? "Saved" : "Not saved. Try again.";
  }

  type() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** A comment typed in the last moment is saved as well. */
  closed() {
    clearTimeout(this.timer);
    if (this.rating && this.#said().comment !== this.rating.comment) this.save();
  }

  async remove() {
    const { id, rating } = this;
    const said = this.#said();
    show(id, null);
    this.element.close();
    if (!(await this.ratings.remove(id, rating))) return;
    toast("Rating removed", { label: "Undo", run: () => this.ratings.put(id, said, null) });
  }

  backdrop({ target }) {
    if (target === this.element) this.element.close();
  }

  /** Of the answer that the dialog is about. */
  get rating() {
    return articleOf(this.id)?.message.rating ?? null;
  }

  #open(id) {
    this.id = id;
    if (!this.rating) return; // taken back while the toast still asked why
    const { value, reasons, comment } = this.rating;
    this.titleTarget.textContent = value === GOOD ? "What was good?" : "What was wrong?";
    for (const group of this.reasonsTargets) group.hidden = (group.dataset.kind === "good") !== (value === GOOD);
    for (const box of this.element.querySelectorAll("[type=checkbox]")) box.checked = reasons.includes(box.value);
    this.commentTarget.value = comment;
    this.savedTarget.textContent = "Saved as you go";
    articleOf(id).querySelector(`[data-message-value-param="${value}"]`).focus(); // where closing the dialog returns to
    this.element.showModal();
  }

  /** What the dialog holds now, down to the last key. */
  #said() {
    const shown = this.reasonsTargets.find((group) => !group.hidden);
    const reasons = [...shown.querySelectorAll(":checked")].map(({ value }) => value);
    return { value: this.rating.value, reasons, comment: this.commentTarget.value.trim() };
  }
}

function articleOf(id) {
  return document.querySelector(`[data-message-id="${id}"]`);
}

function show(id, rating) {
  const article = articleOf(id);
  if (!article) return;
  article.message.rating = rating;
  article.dispatchEvent(new CustomEvent("thread:changed"));
}
