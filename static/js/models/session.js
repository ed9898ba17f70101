import { Thread } from "models/thread";
import { mayPass, pause } from "models/trying";

/**
 * What the page knows of its conversation, kept true by the frames of the connection. Holds no DOM: everything a reader
 * should see is told through `emit(name, detail)`:
 * thread (messages were added, dropped or replaced) · message (one changed: state, rating) · text (one grew) ·
 * conversation ({conversation, shown}: a new one was made) · title · removed · usage · model.
 */
export class Session {
  constructor({ conversation, messages, connection, api, emit, later = (run, delay) => setTimeout(run, delay) }) {
    Object.assign(this, { conversation, connection, api, later });
    this.thread = new Thread(messages);
    this.stopping = null;
    this.failures = 0; // of streams, since one has gone on
    this.left = false;
    this.emit = (name, detail) => this.left || emit(name, detail);
  }

  /** Another conversation is shown now: nothing is asked or told any more. */
  leave() {
    this.left = true;
  }

  /** After every (re)connect: hear of the conversation again, and go on with each answer from its last event. */
  resume() {
    if (this.conversation) this.connection.tell(() => this.#opening(), () => this.reload());
    this.#followLive();
    if (this.thread.get(this.stopping)?.live) this.stop();
  }

  /** The server tells this page nothing any more. */
  unfollow(why) {
    for (const message of this.thread.live) {
      message.unfollow(why);
      this.emit("message", message);
    }
  }

  /** Send a question. `pending` is {key, text, conversation, parent, model}. */
  async send(pending) {
    const frame = await this.connection.request({ type: "send", ...pending });
    // Repeated after a reload into another conversation: it is written there, and the reader stays here.
    if (pending.conversation !== (this.conversation?.id ?? null)) {
      this.emit("conversation", { conversation: frame.conversation, shown: false });
      return;
    }
    this.#accepted(frame);
  }

  async regenerate({ message, key }) {
    this.#accepted(await this.connection.request({ type: "regenerate", key, message }));
  }

  async goOn({ message, key }) {
    this.#accepted(await this.connection.request({ type: "continue", key, message }));
  }

  stop() {
    const { answering } = this.thread;
    this.stopping = answering?.id ?? null;
    if (answering) this.connection.tell(() => answering.live && { type: "stop", message: answering.id });
  }

  /** Show the branch that ends below `message`, which may not be shown now. */
  async show(message) {
    const { messages } = await this.api.patch(this.#path, { leaf: message });
    this.#replace(messages);
  }

  /** Show what the database has. Nobody waits for this by hand: when it fails it is tried again. */
  async reload(failed = 0) {
    if (this.left) return;
    try {
      const { messages } = await this.api.get(this.#path);
      this.#replace(messages);
    } catch (error) {
      if (error.code === "not_found") this.on_removed({ conversation: this.conversation.id });
      else if (mayPass(error)) this.later(() => this.reload(failed + 1), pause(failed));
    }
  }

  receive(frame) {
    this[`on_${frame.type}`]?.(frame);
  }

  on_welcome({ model, usage }) {
    this.emit("model", model);
    this.emit("usage", usage);
  }

  on_model({ model }) {
    this.emit("model", model);
  }

  on_usage({ usage }) {
    this.emit("usage", usage);
  }

  on_title({ conversation, title }) {
    if (this.conversation?.id === conversation) this.conversation.title = title;
    this.emit("title", { id: conversation, title });
  }

  on_removed({ conversation }) {
    this.emit("removed", { id: conversation });
  }

  /** A stream that the server began by itself has failed: it names the answer, and no request of ours. */
  on_error({ ref, message, error }) {
    const answer = this.thread.get(message);
    if (ref || !answer?.live) return;
    const again = mayPass(error) ? () => this.#subscribe(answer) : () => this.reload();
    this.later(again, pause(this.failures++));
  }

  on_opened({ conversation, leaf, title }) {
    if (this.conversation?.id !== conversation) return;
    if (title) this.on_title({ conversation, title });
    // While we were away another tab went on.
    if (leaf && this.thread.leaf?.id !== leaf) this.reload();
  }

  on_message({ conversation, messages }) {
    if (this.conversation?.id !== conversation) return;
    if (!messages.every((message) => this.#place(message))) return this.reload();
    this.emit("thread", this.thread.messages);
  }

  on_state(frame) {
    this.#apply(frame, "message");
  }

  on_tokens(frame) {
    this.#apply(frame, "text");
  }

  on_end(frame) {
    this.#apply(frame, "message");
  }

  on_resync(frame) {
    this.#apply(frame, "message");
  }

  get #path() {
    return `conversations/${this.conversation.id}/`;
  }

  #apply(frame, name) {
    const message = this.thread.get(frame.message);
    if (!message) return;
    const { state } = message;
    const outcome = message.apply(frame);
    if (outcome === "gap") this.#heal(message, frame);
    if (outcome !== "applied") return;
    message.healing = false;
    this.failures = 0;
    this.emit(message.state === state ? name : "message", message);
  }

  /** Frames are missing. Ask once; when that does not bring the end together, the database has the last word. */
  #heal(message, frame) {
    if (!message.healing) this.#subscribe(message);
    else if (frame.type === "end") this.reload();
    message.healing = true;
  }

  #accepted(frame) {
    const isNew = this.conversation?.id !== frame.conversation.id;
    this.conversation = frame.conversation;
    if (frame.user_message) this.thread.place(frame.user_message);
    this.thread.place(frame.answer);
    if (isNew) this.emit("conversation", { conversation: frame.conversation, shown: true });
    this.emit("thread", this.thread.messages);
  }

  #place(message) {
    const placed = this.thread.place(message);
    const shown = this.thread.get(message.id);
    if (shown?.live && shown.seq === 0) this.#subscribe(shown);
    return placed;
  }

  #replace(messages) {
    this.thread.replace(messages);
    this.#followLive();
    this.emit("thread", this.thread.messages);
  }

  #followLive() {
    for (const message of this.thread.live) {
      message.healing = false;
      this.#subscribe(message);
    }
  }

  #subscribe(message) {
    const unknown = () => this.later(() => this.reload(), pause(this.failures++));
    this.connection.tell(() => this.#subscription(message), unknown);
  }

  /** Null when it is not wanted any more. */
  #subscription(message) {
    const { id, generation, seq, live } = message;
    const wanted = live && !this.left && this.thread.get(id) === message;
    return wanted ? { type: "subscribe", message: id, generation, after_seq: seq } : null;
  }

  #opening() {
    return this.left ? null : { type: "open", conversation: this.conversation.id };
  }
}
