import { MessageStream } from "models/stream";

/** The shown branch of a conversation: its messages, each below the one before it. */
export class Thread {
  constructor(messages = []) {
    this.messages = [];
    this.replace(messages);
  }

  get leaf() {
    return this.messages.at(-1) ?? null;
  }

  /** The answer being written, or null. */
  get answering() {
    return this.messages.find((message) => message.live) ?? null;
  }

  get live() {
    return this.messages.filter((message) => message.live);
  }

  get(id) {
    return this.messages.find((message) => message.id === id) ?? null;
  }

  /** Show another branch. Answers still being written keep what they have already applied of their log. */
  replace(messages) {
    this.messages = messages.map((message) => {
      const known = this.get(message.id);
      const next = new MessageStream(message);
      return known?.live && next.live && known.generation === next.generation ? known : next;
    });
  }

  /**
   * Put a message below its parent and drop what was shown below that parent before: another branch has been taken.
   * A message that is shown already is brought up to date. Returns false when its parent is not shown.
   */
  place(message) {
    const known = this.get(message.id);
    if (known) {
      // A repeated `accepted` describes the moment of the first one: the log may be further by now.
      if (known.generation !== message.generation) known.update(message);
      return true;
    }
    const at = message.parent === null ? 0 : this.messages.findIndex(({ id }) => id === message.parent) + 1;
    if (message.parent !== null && at === 0) return false;
    this.messages.splice(at, Infinity, new MessageStream(message));
    return true;
  }

  /** The sibling `step` places after (or before) a message, or null at either end. */
  sibling(id, step) {
    const { siblings } = this.get(id);
    return siblings[siblings.indexOf(id) + step] ?? null;
  }
}
