import { Api, csrfToken } from "models/api";
import { Drafts } from "models/drafts";
import { Outbox } from "models/outbox";
import { Session } from "models/session";
import { Connection, socketUrl } from "models/socket";

/**
 * Everything behind one chat page, wired together. `page` is the server's JSON; `tell(name, detail)` hears what happens.
 * `session` is the shown conversation.
 */
export class Chat {
  constructor(page, tell) {
    Object.assign(this, { page, tell });
    this.drafts = new Drafts({ workspace: page.workspace.slug, local: () => localStorage, session: () => sessionStorage });
    this.outbox = new Outbox({ drafts: this.drafts, tell });
    this.api = new Api({ base: page.api, token: csrfToken() });
    this.connection = this.#newConnection();
    this.show(page.conversation, page.messages);
  }

  show(conversation, messages) {
    const { api, connection, tell: emit } = this;
    this.session = new Session({ conversation, messages, connection, api, emit });
  }

  /** Resolves when the server has accepted or refused the question, which is told. */
  ask(text, model) {
    const { conversation, thread } = this.session;
    const request = { key: crypto.randomUUID(), text, model, conversation: conversation?.id ?? null, parent: thread.leaf?.id ?? null };
    return this.outbox.deliver(this.session, request);
  }

  #newConnection() {
    return new Connection({
      url: socketUrl(location, this.page.socket),
      WebSocket,
      onOpen: () => (this.session.resume(), this.tell("connection", { state: "up" })),
      onDown: () => this.tell("connection", { state: "down" }),
      onRefused: (state) => this.tell("connection", { state }),
      onFrame: (frame) => this.session.receive(frame),
    });
  }
}
