const LIVE = new Set(["queued", "streaming"]);

/** The number of code points: the unit in which the server counts the length of an answer. */
export function codePoints(text) {
  let count = text.length;
  for (let i = 0; i < text.length - 1; i++) {
    const high = text.charCodeAt(i) >= 0xd800 && text.charCodeAt(i) <= 0xdbff;
    const low = text.charCodeAt(i + 1) >= 0xdc00 && text.charCodeAt(i + 1) <= 0xdfff;
    if (high && low) count -= 1;
  }
  return count;
}

/**
 * One message. An answer grows by the events of its log, applied by sequence number (docs/protocol.md): `seq` is the last
 * one applied, `text` exactly what the server will have in its database.
 */
export class MessageStream {
  constructor(message) {
    this.position = null;
    this.update(message);
  }

  get live() {
    return LIVE.has(this.state);
  }

  /** Nothing has come of it yet: it is in line, or the model reads the question. */
  get waits() {
    return this.state === "queued" || (this.live && this.text === "" && this.thinking === "");
  }

  /** Only thoughts come as yet. */
  get thinks() {
    return this.state === "streaming" && this.text === "" && this.thinking !== "";
  }

  /** What the model thought, in all its generations: no part of the text. Joined as the server does it. */
  get thought() {
    return [this.thoughtBefore, this.thinking.trim()].filter(Boolean).join("\n\n");
  }

  /** Take over what the server knows of the message. A new generation starts a new log: its text, thought and tokens are added. */
  update({ id, role, state, text, thought, parent, generation, model, siblings, rating, can_continue, error, output_tokens, sampling, dropped_messages }) {
    Object.assign(this, { id, role, state, text, parent, model, siblings, rating, error });
    this.#thoughtSoFar(thought);
    this.canContinue = can_continue;
    this.outputTokens = output_tokens ?? null;
    this.sampling = sampling ?? {};
    this.dropped = dropped_messages ?? 0;
    if (this.generation !== generation) this.seq = 0;
    this.generation = generation;
  }

  /**
   * Apply one frame of the log. Returns "applied", "gap" when events before it are missing (subscribe again with `seq`),
   * or "ignored" when it belongs to another generation or was applied before.
   */
  apply(frame) {
    if (frame.generation !== this.generation) return "ignored";
    return this[`on_${frame.type}`](frame);
  }

  on_state({ state, position, model, sampling, dropped_messages }) {
    if (!this.live) return "ignored";
    this.dropped = dropped_messages ?? this.dropped;
    this.sampling = sampling ?? this.sampling;
    this.state = state;
    this.position = position ?? null;
    if (model) this.model = model;
    return "applied";
  }

  on_tokens({ first, last, text, thought = "" }) {
    if (last <= this.seq) return "ignored";
    if (first !== this.seq + 1) return "gap";
    this.seq = last;
    this.text += text;
    this.thinking += thought;
    this.state = "streaming";
    this.position = null;
    return "applied";
  }

  on_end({ seq, state, error, length, output_tokens, can_continue }) {
    if (!this.live) return "ignored";
    if (seq > this.seq + 1 || length !== codePoints(this.text)) return "gap";
    this.outputTokens += output_tokens; // those of the generations before it are in there
    return this.#finish({ seq, state, error, can_continue });
  }

  on_resync({ seq, state, text, thought, error, can_continue, model, sampling, output_tokens, dropped_messages }) {
    Object.assign(this, { text, model: model ?? this.model, sampling: sampling ?? this.sampling, dropped: dropped_messages ?? this.dropped });
    this.outputTokens = output_tokens ?? this.outputTokens; // of all its generations
    this.#thoughtSoFar(thought);
    return this.#finish({ seq, state, error, can_continue });
  }

  /** This page hears no more of it ("logged_out", …). What becomes of it there is not known here: a state of the page's own. */
  unfollow(why) {
    Object.assign(this, { state: "unfollowed", error: { code: why }, canContinue: false, position: null });
  }

  #thoughtSoFar(thought) {
    this.thoughtBefore = thought ?? "";
    this.thinking = "";
  }

  #finish({ seq, state, error, can_continue }) {
    Object.assign(this, { seq, state, error: error ?? null, canContinue: can_continue, position: null });
    return "applied";
  }
}
