import { Controller } from "vendor/stimulus";

const NEAR = 12; // messages at the end that are drawn before the first paint

/** Keeps one article for each message of the shown branch, in order. */
export default class extends Controller {
  static targets = ["list"];

  initialize() {
    this.articles = new Map(); // message id -> article
  }

  ready({ detail: { page, messages } }) {
    this.model = page.model;
    this.models = new Map(page.models.map(({ name, label }) => [name, label]));
    this.show(messages);
  }

  sync({ detail: messages }) {
    this.show(messages);
  }

  clear() {
    this.show([]);
  }

  serve({ detail: model }) {
    this.model = model;
    for (const article of this.articles.values()) if (article.message.live) this.#tell(article);
  }

  changed({ detail: message }) {
    const article = this.articles.get(message.id);
    if (article) this.#tell(article);
  }

  show(messages) {
    const wanted = new Set(messages.map(({ id }) => id));
    for (const [id, article] of this.articles) if (!wanted.has(id)) this.#drop(id, article);
    messages.forEach((message, index) => this.#place(message, index < messages.length - NEAR));
  }

  /** `early` messages are far above the end, where the reader begins: they are drawn one by one, later. */
  #place(message, early) {
    const known = this.articles.get(message.id);
    if (known) {
      known.message = message;
      return this.#tell(known);
    }
    const article = this.#build(message);
    article.early = early;
    this.articles.set(message.id, article);
    this.listTarget.append(article);
  }

  #drop(id, article) {
    article.remove();
    this.articles.delete(id);
  }

  #build(message) {
    const template = document.getElementById(`message-${message.role}`);
    const article = template.content.firstElementChild.cloneNode(true);
    article.dataset.messageId = message.id;
    article.message = message;
    this.#mark(article);
    return article;
  }

  #tell(article) {
    this.#mark(article);
    article.dispatchEvent(new CustomEvent("thread:changed"));
  }

  /** What others rely on is true at once; what is drawn follows with the next frame. */
  #mark(article) {
    const { message } = article;
    article.dataset.state = message.state;
    article.sourceText = message.text;
    article.servedModel = this.model;
    article.modelLabel = this.models.get(message.model) ?? message.model;
  }
}
