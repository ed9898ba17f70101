import { pause } from "models/trying";

const MOST_TRIES = 5;
const LEAVING = new Set([1001, 1012, 4401, 4403, 4409, 4410, 4429]); // closes that have nothing to do with what was sent
const TOO_LARGE = 1009;
const WORDS = {
  unreadable: "The server could not read this message. Change it, or send it in parts.",
  too_large: "This message is too large for the server. Send it in parts.",
  unanswered: "The connection broke each time this was sent.",
};

/** A request that was not granted: `code`, `message`, `retry_after` (s or null), `resets_at` (ISO or null). */
export class RequestRefused extends Error {
  constructor({ code, message, retry_after = null, resets_at = null }) {
    super(message);
    Object.assign(this, { code, retry_after, resets_at });
  }
}

/**
 * Requests for which a person waits. They survive the connection: each is sent, under its idempotency key, until it is
 * answered; one that fails again and again is given up, so that it can be changed or dropped.
 */
export class Requests {
  #waiting = new Map(); // ref -> {frame, resolve, reject, failed, sent}

  constructor({ write, later, random }) {
    Object.assign(this, { write, later, random });
    this.up = false;
  }

  /** `frame` with its ref. Resolves with the reply, rejects with RequestRefused. */
  add(frame) {
    return new Promise((resolve, reject) => {
      this.#waiting.set(frame.ref, { frame, resolve, reject, failed: 0, sent: false });
      this.#send(frame.ref);
    });
  }

  /** The connection is there. */
  begin() {
    this.up = true;
    for (const ref of this.#waiting.keys()) this.#send(ref);
  }

  /** Take a reply or an error; false when it belongs to none of these. */
  settle(frame) {
    const request = this.#waiting.get(frame.ref);
    if (!request) return frame.type === "error" && !frame.ref && !frame.message && this.#objected(frame.error);
    this.#waiting.delete(frame.ref);
    if (frame.type === "error") request.reject(new RequestRefused(frame.error));
    else request.resolve(frame);
    return true;
  }

  /** The connection has ended; what was on its way may have been the reason. True when one is given up for it. */
  lost(code) {
    this.up = false;
    const kind = code === TOO_LARGE ? "too_large" : "unanswered";
    const before = this.#waiting.size;
    for (const request of this.#sent) {
      request.sent = false;
      if (!LEAVING.has(code)) this.#failed(request, { code: kind, message: WORDS[kind] });
    }
    return this.#waiting.size < before;
  }

  rejectAll(error) {
    for (const { reject } of this.#waiting.values()) reject(new RequestRefused(error));
    this.#waiting.clear();
  }

  get #sent() {
    return [...this.#waiting.values()].filter(({ sent }) => sent);
  }

  /** A refusal that names no request is of the only one there is. */
  #objected(error) {
    const [request, ...others] = this.#sent;
    if (!request || others.length) return false;
    request.sent = false;
    this.#failed(request, error.code === "bad_request" ? { code: "unreadable", message: WORDS.unreadable } : error);
    this.later(() => this.#send(request.frame.ref), pause(request.failed, this.random));
    return true;
  }

  #failed(request, error) {
    request.failed += 1;
    if (request.failed < MOST_TRIES) return;
    this.#waiting.delete(request.frame.ref);
    request.reject(new RequestRefused(error));
  }

  #send(ref) {
    const request = this.#waiting.get(ref);
    if (!this.up || !request || request.sent) return;
    request.sent = true;
    this.write(request.frame);
  }
}
