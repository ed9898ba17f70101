import { Api, csrfToken } from "models/api";
import { clone } from "models/dom";

export const PAUSE = 250; // ms without a key before a list is searched

export function openApi() {
  return new Api({ base: "/api/v1/", token: csrfToken() });
}

/** A copy of the row in a <template>, and its parts by name. */
export function makeRow(template) {
  const row = clone(template);
  const parts = Object.fromEntries([...row.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
  return { row, parts };
}

/** A long list that is searched on the server, and read page by page. Of answers that come late, those are passed over. */
export class PagedList {
  constructor({ api, path, draw }) {
    Object.assign(this, { api, path, draw, asked: 0, next: null, words: "" });
  }

  /** The first page for some words. Returns the server's answer, or null when another search has begun meanwhile. */
  async search(words) {
    this.words = words;
    return this.#read(1);
  }

  async more() {
    return this.#read(this.next);
  }

  async #read(page) {
    const turn = ++this.asked;
    const found = await this.api.get(`${this.path}?${new URLSearchParams({ q: this.words, page })}`);
    if (turn !== this.asked) return null;
    this.next = found.next;
    this.draw(found, page);
    return found;
  }
}

const dates = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });
const times = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export const day = (iso) => dates.format(new Date(iso));
export const moment = (iso) => times.format(new Date(iso));

/** The addresses in what somebody pasted: "Ana <ana@example.com>; bob@example.com". */
export function addresses(text) {
  return text.split(/[\s,;]+/).map((word) => word.replace(/^<|>$/g, "")).filter((word) => word.includes("@"));
}

const ACTS = {
  "member.role": "Changed a role",
  "member.suspended": "Suspended a member",
  "member.restored": "Let a member in again",
  "member.removed": "Removed a member",
  "member.joined": "Joined",
  "member.left": "Left",
  "invitation.created": "Invited somebody",
  "invitation.resent": "Sent an invitation again",
  "invitation.revoked": "Took back an invitation",
  "invitation.accepted": "Accepted an invitation",
  "invitation.declined": "Turned down an invitation",
  "link.created": "Made an invite link",
  "link.used": "Joined by a link",
  "link.revoked": "Took back an invite link",
  "domain.added": "Opened the workspace to a domain",
  "domain.removed": "Closed the workspace to a domain",
  "domain.joined": "Joined by domain",
  "workspace.created": "Made the workspace",
  "workspace.changed": "Changed the settings",
  "workspace.transferred": "Handed the workspace on",
  "workspace.deleted": "Deleted the workspace",
  "workspace.restored": "Brought the workspace back",
};

/** What an event of the log says: the act in words, and what changed. */
export function eventLine({ act, before, after }) {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((name) => name !== "user");
  const shown = (value) => (Array.isArray(value) ? value.join(", ") || "none" : String(value ?? "none"));
  const changes = names.map((name) => `${name.replaceAll("_", " ")} ${name in before ? `${shown(before[name])} → ` : ""}${name in after ? shown(after[name]) : "gone"}`);
  return { words: ACTS[act] ?? act, changes: changes.join(", ") };
}
