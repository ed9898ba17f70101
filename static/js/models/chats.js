const DAY = 24 * 60 * 60 * 1000; // ms

/** The heading a conversation stands under, as the server says it (chatapp/web/chat_views.py): days are those of UTC. */
export function dayLabel(updated, now) {
  const age = Math.floor(now / DAY) - Math.floor(Date.parse(updated) / DAY);
  if (age <= 1) return age <= 0 ? "Today" : "Yesterday";
  if (age <= 30) return age <= 7 ? "Previous 7 days" : "Previous 30 days";
  return new Date(updated).toLocaleDateString("en", { month: "long", year: "numeric", timeZone: "UTC" });
}

/** As the server lists them: what was answered at the same moment is told apart by its id. */
function newestFirst(a, b) {
  return Date.parse(b.updated) - Date.parse(a.updated) || b.updated.localeCompare(a.updated) || b.id.localeCompare(a.id);
}

/** A person's conversations as far as they are listed: {id, title, url, updated}, the last answered first. */
export class Chats {
  #rows = new Map();

  constructor(rows = [], now = Date.now) {
    this.now = now;
    this.add(rows);
  }

  get(id) {
    return this.#rows.get(id) ?? null;
  }

  get all() {
    return [...this.#rows.values()].sort(newestFirst);
  }

  /** [{label, rows}]: under headings by day. */
  get groups() {
    const groups = new Map();
    for (const row of this.all) {
      const label = dayLabel(row.updated, this.now());
      groups.set(label, [...(groups.get(label) ?? []), row]);
    }
    return [...groups].map(([label, rows]) => ({ label, rows }));
  }

  add(rows) {
    for (const { id, title, url, updated } of rows) this.#rows.set(id, { id, title, url, updated });
  }

  /** Something happened in it: it is the first now. What is not known is added. */
  touch({ id, ...given }) {
    const newest = Math.max(this.now(), ...this.all.slice(0, 1).map(({ updated }) => Date.parse(updated) + 1));
    this.#rows.set(id, { ...this.get(id), ...given, id, updated: new Date(newest).toISOString() });
  }

  rename(id, title) {
    if (this.get(id)) this.get(id).title = title;
  }

  remove(id) {
    this.#rows.delete(id);
  }

  /** The newest as the server lists them now; `whole` when it has no others. What it no longer has among them is gone. */
  refresh(rows, whole) {
    const listed = new Set(rows.map(({ id }) => id));
    const among = (row) => whole || newestFirst(row, rows.at(-1)) < 0;
    for (const row of this.all) if (!listed.has(row.id) && among(row)) this.remove(row.id);
    this.add(rows);
  }
}
