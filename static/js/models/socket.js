const FIRST_DELAY = 250; // ms
const LONGEST_DELAY = 10_000; // ms
const HEARTBEAT = 20_000; // ms without a frame after which we ask whether anyone is there
const PATIENCE = 8_000; // ms to wait for the answer
const FINAL = new Map([[4401, "logged_out"], [4404, "not_found"]]);
const RESTARTING = 1012;

/** A request that the server refused: `code`, `message`, `retry_after` (s or null), `resets_at` (ISO or null). */
export class RequestRefused extends Error {
  constructor(error) {
    super(error.message);
    Object.assign(this, error);
  }
}

/** The address of a socket on the page's own host. */
export function socketUrl({ protocol, host }, path) {
  return `${protocol === "https:" ? "wss" : "ws"}://${host}${path}`;
}

/**
 * One WebSocket that comes back: exponential back-off with full jitter, at once when the server says that it restarts or
 * the browser that the network is back. Requests with an idempotency key (`key`) survive the connection: they are sent
 * again until they are answered. The others are dropped; whoever made them starts over in `onOpen`.
 */
export class Connection {
  #socket = null;
  #attempts = 0;
  #waiting = new Map(); // ref -> {frame, resolve, reject}
  #nextRef = 1;
  #timer = null;
  #heartbeat = null;

  constructor({ url, onOpen, onFrame, onDown, onRefused, WebSocket, timers = globalThis, random = Math.random }) {
    Object.assign(this, { url, onOpen, onFrame, onDown, onRefused, WebSocket, random });
    this.setTimer = timers.setTimeout.bind(timers);
    this.clearTimer = timers.clearTimeout.bind(timers);
    this.up = false;
    this.closed = false;
  }

  connect() {
    if (this.#socket || this.closed) return;
    this.clearTimer(this.#timer);
    const socket = (this.#socket = new this.WebSocket(this.url));
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    socket.onclose = ({ code }) => socket === this.#socket && this.#lost(code);
  }

  /** The network or the tab came back: do not wait for the timer, and do not trust an old socket. */
  wake() {
    if (this.#socket) return this.up && this.#ask();
    this.#attempts = 0;
    this.connect();
  }

  /** Leave for good; nothing is sent or reported afterwards. */
  close() {
    this.closed = true;
    this.clearTimer(this.#timer);
    this.clearTimer(this.#heartbeat);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Send a frame that is answered; resolves with the reply, rejects with RequestRefused. */
  request(frame) {
    const ref = `r${this.#nextRef++}`;
    return new Promise((resolve, reject) => {
      this.#waiting.set(ref, { frame: { ...frame, ref }, resolve, reject });
      if (this.up) this.#write(this.#waiting.get(ref).frame);
    });
  }

  /** Send a frame whose effect, if any, arrives as other frames. Dropped while there is no connection. */
  tell(frame) {
    if (this.up) this.#write({ ...frame, ref: `r${this.#nextRef++}` });
  }

  #write(frame) {
    this.#socket.send(JSON.stringify(frame));
  }

  #receive(frame) {
    this.#listen();
    if (frame.type === "welcome") this.#welcome();
    const waiting = frame.ref && this.#waiting.get(frame.ref);
    if (waiting) {
      this.#waiting.delete(frame.ref);
      if (frame.type === "error") return waiting.reject(new RequestRefused(frame.error));
      waiting.resolve(frame);
    }
    if (frame.type !== "pong") this.onFrame(frame);
  }

  #welcome() {
    this.up = true;
    this.#attempts = 0;
    for (const { frame } of this.#waiting.values()) this.#write(frame);
    this.onOpen();
  }

  #lost(code) {
    this.#socket = null;
    this.up = false;
    this.clearTimer(this.#heartbeat);
    for (const [ref, { frame }] of this.#waiting) if (!frame.key) this.#waiting.delete(ref);
    if (FINAL.has(code)) return this.onRefused(FINAL.get(code));
    this.onDown();
    this.#timer = this.setTimer(() => this.connect(), this.#delay(code));
  }

  #delay(code) {
    const ceiling = code === RESTARTING ? FIRST_DELAY : Math.min(LONGEST_DELAY, FIRST_DELAY * 2 ** this.#attempts);
    this.#attempts += 1;
    return this.random() * ceiling;
  }

  /** Any frame shows that the other end lives; after a silence we ask. */
  #listen() {
    this.clearTimer(this.#heartbeat);
    this.#heartbeat = this.setTimer(() => this.#ask(), HEARTBEAT);
  }

  #ask() {
    this.tell({ type: "ping" });
    this.clearTimer(this.#heartbeat);
    const socket = this.#socket;
    this.#heartbeat = this.setTimer(() => this.#abandon(socket), PATIENCE);
  }

  /** A dead network may report a close only after minutes, so we do not wait for it. */
  #abandon(socket) {
    if (socket !== this.#socket) return;
    socket.close();
    this.#lost(1006);
  }
}
