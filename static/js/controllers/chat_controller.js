import { Controller } from "vendor/stimulus";
import { Api, csrfToken } from "models/api";
import { Drafts } from "models/drafts";
import { Outbox } from "models/outbox";
import { Session } from "models/session";
import { Connection, socketUrl } from "models/socket";

/** Ties the conversation to the page: what people do comes in as actions, what happens goes out as chat:… events. */
export default class extends Controller {
  static targets = ["main"];

  connect() {
    this.page = JSON.parse(document.getElementById("page-data").textContent);
    this.drafts = new Drafts({ workspace: this.page.workspace.slug, local: () => localStorage, session: () => sessionStorage });
    this.outbox = new Outbox({ drafts: this.drafts, tell: (name, detail) => this.dispatch(name, { detail }) });
    this.api = new Api({ base: this.page.api, token: csrfToken() });
    this.connection = this.#newConnection();
    this.session = this.#newSession(this.page.conversation, this.page.messages);
    // Every controller of the page is connected by then, and hears it.
    queueMicrotask(() => this.#begin());
  }

  disconnect() {
    this.connection.close();
  }

  send({ detail: { text, model } }) {
    const { conversation, thread } = this.session;
    const parent = thread.leaf?.id ?? null;
    this.outbox.deliver(this.session, { key: crypto.randomUUID(), text, conversation: conversation?.id ?? null, parent, model });
  }

  stop() {
    this.session.stop();
  }

  regenerate({ detail: { id } }) {
    this.#try(this.session.regenerate({ key: crypto.randomUUID(), message: id }));
  }

  goOn({ detail: { id } }) {
    this.#try(this.session.goOn({ key: crypto.randomUUID(), message: id }));
  }

  show({ detail: { id } }) {
    this.#try(this.session.show(id));
  }

  /** The shown conversation was deleted: a new one takes its place without a load, so that this can be undone. */
  leave() {
    history.pushState(null, "", this.page.workspace.url);
    this.session = this.#newSession(null, []);
    this.dispatch("reset");
    this.#tellAnswering();
  }

  wake() {
    if (document.visibilityState === "visible") this.connection.wake();
  }

  back() {
    location.reload();
  }

  #begin() {
    const { page, drafts, api, session } = this;
    this.dispatch("ready", { detail: { page, drafts, api, messages: session.thread.messages } });
    this.#tellAnswering();
    this.connection.connect();
    this.outbox.resend(session);
  }

  #try(act) {
    act.catch((error) => this.dispatch("refused", { detail: { error, draft: false } }));
  }

  #newConnection() {
    const tell = (state) => this.dispatch("connection", { detail: { state } });
    return new Connection({
      url: socketUrl(location, this.page.socket),
      WebSocket,
      onOpen: () => (this.session.resume(), tell("up")),
      onDown: () => tell("down"),
      onRefused: tell,
      onFrame: (frame) => this.session.receive(frame),
    });
  }

  #newSession(conversation, messages) {
    const emit = (name, detail) => this.#emit(name, detail);
    return new Session({ conversation, messages, connection: this.connection, api: this.api, emit });
  }

  #emit(name, detail) {
    if (name === "conversation" && detail.shown) history.pushState(null, "", detail.conversation.url);
    this.dispatch(name, { detail });
    if (name === "thread" || name === "message") this.#tellAnswering();
  }

  #tellAnswering() {
    const { thread } = this.session;
    const answering = thread.answering !== null;
    this.element.toggleAttribute("data-answering", answering);
    this.mainTarget.toggleAttribute("data-empty", thread.leaf === null);
    this.dispatch("answering", { detail: { answering } });
  }
}
