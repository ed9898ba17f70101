import { newId } from "models/ids";
import { sendable } from "models/text";

/**
 * Sends questions so that none is lost: a request is written down before it leaves, with its idempotency key, and crossed
 * out when it was answered. Whatever was still written down when the page is loaded is sent again.
 */
export class Outbox {
  #refused = null; // the last request that was

  /** `tell(name, detail)` reports "sent" with the request, or "refused" with {error, draft, elsewhere}. */
  constructor({ drafts, tell }) {
    Object.assign(this, { drafts, tell });
  }

  /** Send a question: {text, conversation, parent, model}. */
  post(session, question) {
    const request = { ...question, text: sendable(question.text) };
    return this.deliver(session, { key: this.#keyOf(request), ...request });
  }

  async deliver(session, request) {
    this.drafts.pending = request;
    try {
      await session.send(request);
      this.drafts.write(request.conversation, "");
      this.#refused = null;
      this.tell("sent", request);
    } catch (error) {
      this.#refused = request;
      const elsewhere = request.conversation !== (session.conversation?.id ?? null);
      this.tell("refused", { error, draft: true, elsewhere });
    } finally {
      this.drafts.pending = null;
    }
  }

  async resend(session) {
    const { pending } = this.drafts;
    if (pending) await this.deliver(session, { ...pending, text: sendable(pending.text) });
  }

  /** The same words at the same place are the same act: should they have arrived after all, they are not written twice. */
  #keyOf(request) {
    const { key, ...before } = this.#refused ?? {};
    const same = Object.keys(request).every((name) => request[name] === before[name]);
    return same ? key : newId();
  }
}
