/**
 * What one person typed in one workspace and that was not yet accepted, by conversation (null: a new one), and the
 * request that was sent and not yet answered. Drafts live in `local`, shared by tabs; the pending request in `session`,
 * this tab's own, so that a reload repeats it with the same key. A browser may refuse storage (then `local()` or
 * `session()` throws): both live as long as the page then. Nobody reads what another person typed at the same browser.
 */
export class Drafts {
  #memory = new Map();

  constructor({ person, workspace, local, session }) {
    Object.assign(this, { person, workspace, local, session });
  }

  read(conversation) {
    return this.#read(this.local, this.#key("draft", conversation)) ?? "";
  }

  write(conversation, text) {
    this.#write(this.local, this.#key("draft", conversation), text || null);
  }

  get pending() {
    const raw = this.#read(this.session, this.#key("pending", null));
    return raw ? JSON.parse(raw) : null;
  }

  set pending(request) {
    this.#write(this.session, this.#key("pending", null), request && JSON.stringify(request));
  }

  #key(kind, conversation) {
    return `${own(this.person)}${kind}:${this.workspace}:${conversation ?? "new"}`;
  }

  #read(storage, key) {
    if (this.#memory.has(key)) return this.#memory.get(key);
    try {
      return storage().getItem(key);
    } catch {
      return null;
    }
  }

  #write(storage, key, value) {
    this.#memory.set(key, value);
    try {
      if (value === null) storage().removeItem(key);
      else storage().setItem(key, value);
    } catch {
      // Refused or full: the memory above keeps it for this page.
    }
  }
}

/** Drop all that this person typed, in every workspace, and what was kept when persons were not yet told apart. */
export function forget(person, storages) {
  const begins = [own(person), "draft:", "pending:"];
  for (const storage of storages) {
    try {
      drop(storage(), (key) => begins.some((begin) => key.startsWith(begin)));
    } catch {
      // A storage that is refused holds nothing.
    }
  }
}

function own(person) {
  return `person:${person}:`;
}

function drop(storage, chosen) {
  const keys = Array.from({ length: storage.length }, (_, index) => storage.key(index));
  for (const key of keys.filter(chosen)) storage.removeItem(key);
}
