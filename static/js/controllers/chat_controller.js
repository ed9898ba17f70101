import { Controller } from "vendor/stimulus";
import { Chat } from "models/chat";
import { inWords } from "models/mishaps";

const SHOWN = new Set(["thread", "message", "reset"]); // what may change whether an answer is being written

/** Ties the conversation to the page: what people do comes in as actions, what happens goes out as chat:… events. */
export default class extends Controller {
  static targets = ["main"];

  connect() {
    const page = JSON.parse(document.getElementById("page-data").textContent);
    this.chat = new Chat(page, (name, detail) => this.#tell(name, detail));
    // Every controller of the page is connected by then, and hears it.
    queueMicrotask(() => this.#begin());
  }

  disconnect() {
    this.chat.connection.close();
  }

  send({ detail: { text, model } }) {
    this.#try(() => this.chat.ask(text, model), true);
  }

  stop() {
    this.chat.session.stop();
  }

  regenerate({ detail: { id } }) {
    this.#try(() => this.chat.regenerate(id));
  }

  goOn({ detail: { id } }) {
    this.#try(() => this.chat.goOn(id));
  }

  show({ detail: { id } }) {
    this.#try(() => this.chat.session.show(id));
  }

  /** The shown conversation was deleted: a new one takes its place without a load, so that this can be undone. */
  leave() {
    history.pushState(null, "", this.chat.page.workspace.url);
    this.chat.show(null, []);
    this.#tell("reset", {});
  }

  wake() {
    if (document.visibilityState === "visible") this.chat.connection.wake();
  }

  doubt() {
    this.chat.connection.doubt();
  }

  back() {
    location.reload();
  }

  /** Kept by the browser for its back button: whoever is logged in by now, it is for the server to say what they may see. */
  shown({ persisted }) {
    if (persisted) location.reload();
  }

  #begin() {
    const { page, drafts, api, session, connection, outbox } = this.chat;
    this.#tell("ready", { page, drafts, api, messages: session.thread.messages });
    this.#tellAnswering();
    connection.connect();
    outbox.resend(session);
  }

  async #try(act, draft = false) {
    try {
      await act();
    } catch (error) {
      this.#tell("refused", { error, draft });
    }
  }

  #tell(name, detail) {
    if (name === "refused") detail.error = inWords(detail.error);
    if (name === "conversation" && detail.shown) history.pushState(null, "", detail.conversation.url);
    this.dispatch(name, { detail });
    if (name === "connection") this.element.toggleAttribute("data-strange", detail.state === "other_person");
    if (SHOWN.has(name)) this.#tellAnswering();
  }

  #tellAnswering() {
    const { thread } = this.chat.session;
    const answering = thread.answering !== null;
    this.element.toggleAttribute("data-answering", answering);
    this.mainTarget.toggleAttribute("data-empty", thread.leaf === null);
    this.dispatch("answering", { detail: { answering } });
  }
}
