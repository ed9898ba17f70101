/**
 * Sends questions so that none is lost: a request is written down before it leaves, with its idempotency key, and crossed
 * out when it was answered. Whatever was still written down when the page is loaded is sent again.
 */
export class Outbox {
  /** `tell(name, detail)` reports "sent" with the request, or "refused" with {error, draft}. */
  constructor({ drafts, tell }) {
    Object.assign(this, { drafts, tell });
  }

  async deliver(session, request) {
    this.drafts.pending = request;
    try {
      await session.send(request);
      this.drafts.write(request.conversation, "");
      this.tell("sent", request);
    } catch (error) {
      this.tell("refused", { error, draft: true });
    } finally {
      this.drafts.pending = null;
    }
  }

  async resend(session) {
    if (this.drafts.pending) await this.deliver(session, this.drafts.pending);
  }
}
