import { Api, csrfToken } from "models/api";
import { Drafts } from "models/drafts";
import { newId } from "models/ids";
import { Outbox } from "models/outbox";
import { Session } from "models/session";
import { Connection, OVER, socketUrl } from "models/socket";
import { hearTabs } from "models/tabs";

/**
 * Everything behind one chat page, wired together. `page` is the server's JSON; `tell(name, detail)` hears what happens.
 * `session` is the shown conversation.
 */
export class Chat {
  constructor(page, tell) {
    Object.assign(this, { page, tell });
    const [person, workspace] = [page.me.id, page.workspace.slug];
    this.drafts = new Drafts({ person, workspace, local: () => localStorage, session: () => sessionStorage });
    this.outbox = new Outbox({ drafts: this.drafts, tell });
    this.api = new Api({ base: page.api, token: csrfToken() });
    this.connection = this.#newConnection();
    // Somebody has logged in in another tab: it may be the person of this page.
    hearTabs("here", () => OVER.has(this.connection.barred) && this.connection.wake());
    this.show(page.conversation, page.messages);
  }

  show(conversation, messages) {
    const { api, connection, tell: emit } = this;
    this.session?.leave();
    this.session = new Session({ conversation, messages, connection, api, emit });
  }

  /** Resolves when the server has accepted or refused the question, which is told. */
  ask(text, model) {
    const { conversation, thread } = this.session;
    const question = { text, model, conversation: conversation?.id ?? null, parent: thread.leaf?.id ?? null };
    return this.outbox.post(this.session, question);
  }

  regenerate(message) {
    return this.session.regenerate({ key: newId(), message });
  }

  goOn(message) {
    return this.session.goOn({ key: newId(), message });
  }

  /** Whoever has the page now is not to read what is on it. */
  #hide() {
    this.show(null, []);
    this.tell("reset", {});
  }

  #newConnection() {
    const told = (state) => this.tell("connection", { state });
    return new Connection({
      url: socketUrl(location, this.page.socket),
      person: this.page.me.id,
      WebSocket,
      onOpen: () => (this.session.resume(), told("up")),
      onDown: (why) => told(navigator.onLine ? why : "offline"),
      onBarred: (why) => (why === "other_person" ? this.#hide() : this.session.unfollow(why), told(why)),
      // The page's token is of the session that ended.
      onReturn: () => location.reload(),
      onFrame: (frame) => this.session.receive(frame),
    });
  }
}
