import { Errands } from "models/errands";
import { RequestRefused, Requests } from "models/requests";
import { pause } from "models/trying";

const STEADY = 10_000; // ms that a connection must have held for its loss to count as the first one again
const CONNECTING = 10_000; // ms until an attempt is given up: a network that has gone may never say so
const HEARTBEAT = 20_000; // ms without a frame after which we ask whether anyone is there
const PATIENCE = 8_000; // ms to wait for the answer
const DOUBT = 2_500; // ms to wait for it when the browser says that the network is gone
const RESTARTING = 1012;
const BARS = new Map([[4401, "logged_out"], [4403, "suspended"], [4404, "not_found"], [4409, "new_password"], [4410, "no_second_factor"], [4429, "too_many"]]);
export const OVER = new Set(["logged_out", "suspended", "new_password", "other_person"]); // the session of this page's person is
const RENEWABLE = new Set(["logged_out", "new_password"]); // by a login in another tab, perhaps a moment ago
const BARRED = {
  logged_out: "You have been logged out. Log in again to go on.",
  suspended: "Your account has been switched off.",
  new_password: "Your password was changed. Log in with the new one to go on.",
  no_second_factor: "This workspace asks for a second factor.",
  not_found: "You are no longer a member of this workspace.",
  other_person: "Somebody else has logged in to this browser.",
  too_many: "You have too many pages open here. Close some of them, then come back to this one.",
};

/** The address of a socket on the page's own host. */
export function socketUrl({ protocol, host }, path) {
  return `${protocol === "https:" ? "wss" : "ws"}://${host}${path}`;
}

/**
 * One WebSocket that comes back: exponential back-off with full jitter, at once when the browser says that the network is
 * back. It speaks for `person` alone: whoever the server takes us for is told with the welcome, and before it nothing is
 * sent. `onDown(why)` hears "down" or "restarting", `onBarred(why)` that there is no use in trying until somebody acts
 * ("logged_out", "suspended", "new_password", "no_second_factor", "not_found", "other_person",
 * "too_many"), `onReturn()` that it is of use again.
 */
export class Connection {
  #socket = null;
  #lost = 0; // connections in a row that did not hold
  #since = 0;
  #why = null; // we are not connected
  #nextRef = 1;
  #timers = {};

  constructor({ url, person, onOpen, onFrame, onDown, onBarred, onReturn, WebSocket, clock = globalThis, now = Date.now, random = Math.random }) {
    Object.assign(this, { url, person, onOpen, onFrame, onDown, onBarred, onReturn, WebSocket, clock, now, random });
    const later = (run, delay) => clock.setTimeout(run, delay);
    this.requests = new Requests({ write: (frame) => this.#write(frame), later, random });
    this.errands = new Errands({ write: (frame) => this.#write({ ...frame, ref: this.#ref() }), later, random });
    this.up = false;
    this.barred = null;
    this.closed = false;
  }

  connect() {
    if (this.#socket || this.closed) return;
    this.#stop("reconnect");
    const socket = (this.#socket = new this.WebSocket(this.url));
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(JSON.parse(data));
    socket.onclose = ({ code }) => this.#end(socket, code);
    this.#start("silence", () => this.#abandon(), CONNECTING);
  }

  /** The network or the tab came back: do not wait for the timer, and do not trust an old socket. */
  wake() {
    if (this.#socket) return void (this.up && this.#ask());
    this.#lost = 0;
    this.connect();
  }

  /** The browser says that the network is gone. A server on this machine is still there, so it is asked. */
  doubt() {
    if (!this.up) return void (this.barred ?? this.onDown(this.#why ?? "down"));
    this.#ask();
    this.#start("doubt", () => this.#abandon(), DOUBT);
  }

  /** Leave for good; nothing is sent or reported afterwards. */
  close() {
    this.closed = true;
    this.#letGo()?.close();
    this.#stop("reconnect");
  }

  /** Send a frame that is answered; resolves with the reply, rejects with RequestRefused. */
  request(frame) {
    if (this.barred) return Promise.reject(new RequestRefused({ code: this.barred, message: BARRED[this.barred] }));
    return this.requests.add({ ...frame, ref: this.#ref() });
  }

  /** Send what `make` gives (see Errands). Dropped while there is no connection: `onOpen` is the time to ask anew. */
  tell(make, never) {
    if (this.up) this.errands.run(make, never);
  }

  #ref() {
    return `r${this.#nextRef++}`;
  }

  #write(frame) {
    this.#socket.send(JSON.stringify(frame));
    return frame;
  }

  #receive(frame) {
    this.#start("silence", () => this.#ask(), HEARTBEAT);
    if (frame.type === "welcome" && !this.#welcome(frame)) return;
    if (frame.type === "pong") return this.#stop("doubt");
    if (this.requests.settle(frame) && frame.type === "error") return;
    if (frame.type === "error" && this.errands.refused(frame)) return;
    this.onFrame(frame);
  }

  /** False when this page is not to go on. */
  #welcome({ person }) {
    if (person !== this.person) return void this.#bar("other_person");
    if (this.barred) return void this.onReturn();
    this.up = true;
    this.#since = this.now();
    this.#why = null;
    this.requests.begin();
    this.onOpen();
    return true;
  }

  #end(socket, code) {
    if (socket !== this.#socket) return;
    const wasUp = this.up;
    if (wasUp && this.now() - this.#since >= STEADY) this.#lost = 0;
    this.#letGo();
    if (this.requests.lost(code)) this.#lost = 0; // the reason is out of the way
    this.errands.lost();
    if (BARS.has(code)) return this.#bar(BARS.get(code), wasUp);
    this.onDown((this.#why ??= code === RESTARTING ? "restarting" : "down"));
    this.#start("reconnect", () => this.connect(), pause(this.#lost++, this.random));
  }

  /** A session that has just ended may have been renewed in another tab: before it is told we look once. */
  #bar(why, wasUp) {
    this.#letGo()?.close();
    const known = why === "logged_out" && this.barred === "new_password"; // its session is gone by now
    if (!known) this.barred = why;
    if (why === "not_found") this.requests.rejectAll({ code: why, message: BARRED[why] });
    if (RENEWABLE.has(why) && wasUp) this.connect();
    else this.onBarred(this.barred);
  }

  #letGo() {
    for (const name of ["silence", "doubt"]) this.#stop(name);
    const socket = this.#socket;
    this.#socket = null;
    this.up = false;
    return socket;
  }

  #ask() {
    this.tell(() => ({ type: "ping" }));
    this.#start("silence", () => this.#abandon(), PATIENCE);
  }

  /** A dead network may report a close only after minutes, so we do not wait for it. */
  #abandon() {
    const socket = this.#socket;
    socket.close();
    this.#end(socket, 1006);
  }

  #start(name, run, delay) {
    this.#stop(name);
    this.#timers[name] = this.clock.setTimeout(run, delay);
  }

  #stop(name) {
    this.clock.clearTimeout(this.#timers[name]);
  }
}
