import { Controller } from "vendor/stimulus";
import { toast } from "models/dom";
import { Ratings, same, wordless } from "models/rating";
import { sendable } from "models/text";

const PAUSE = 600; // ms without a key before a comment is saved
const GOOD = 1;
const DONE = "done"; // the button, unlike Escape
const UNSAVED = "Not saved. Try again.";

/** Ratings of answers: a press rates, the dialog says why and can take it back. Everything is saved as it is done. */
export default class extends Controller {
  static targets = ["title", "reasons", "comment", "saved"];

  ready({ detail: { api } }) {
    this.ratings = new Ratings({ api, show, complain: toast });
  }

  /** The lit thumb opens what was said; the other one changes sides, keeps it, and shows what it has kept. */
  async rate({ detail: { article, value } }) {
    const { id, rating } = article.message;
    if (rating?.value === value) return this.#open(id);
    const turned = this.ratings.turned(id, rating, value);
    if (!(await this.ratings.put(id, turned, rating))) return;
    if (value === GOOD && wordless(turned)) toast("Thanks, noted", { label: "Say why", once: true, run: () => this.#open(id) });
    else this.#open(id);
  }

  async save() {
    clearTimeout(this.timer);
    const { id } = this;
    this.savedTarget.textContent = "Saving…";
    const saved = await this.ratings.put(id, this.#said(), this.rating);
    if (id !== this.id) return; // by now the dialog is about another answer
    this.savedTarget.textContent = saved ? "Saved" : UNSAVED;
    if (!saved && !this.element.open && this.element.returnValue === DONE) this.#open(id);
  }

  type() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), PAUSE);
  }

  /** What was said in the last moment, or could not be saved before, is saved as well. */
  closed() {
    clearTimeout(this.timer);
    if (this.rating && !same(this.#said(), this.rating)) this.save();
  }

  async remove() {
    clearTimeout(this.timer);
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
    const unsaved = this.ratings.unsaved(id, this.rating);
    const { value, reasons, comment } = unsaved ?? this.rating;
    this.titleTarget.textContent = value === GOOD ? "What was good?" : "What was wrong?";
    for (const group of this.reasonsTargets) group.hidden = (group.dataset.kind === "good") !== (value === GOOD);
    for (const box of this.element.querySelectorAll("[type=checkbox]")) box.checked = reasons.includes(box.value);
    this.commentTarget.value = comment;
    this.savedTarget.textContent = unsaved ? UNSAVED : "Saved as you go";
    this.element.returnValue = "";
    articleOf(id).querySelector(`[data-message-value-param="${value}"]`).focus(); // where closing the dialog returns to
    this.element.showModal();
  }

  /** What the dialog holds now, down to the last key. */
  #said() {
    const shown = this.reasonsTargets.find((group) => !group.hidden);
    const reasons = [...shown.querySelectorAll(":checked")].map(({ value }) => value);
    return { value: this.rating.value, reasons, comment: sendable(this.commentTarget.value).trim() };
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
