import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Drafts } = await import("models/drafts");
const { Outbox } = await import("models/outbox");

function storage() {
  const values = new Map();
  return { values, getItem: (key) => values.get(key) ?? null, setItem: (key, value) => values.set(key, value), removeItem: (key) => values.delete(key) };
}

function setUp() {
  const local = storage();
  const session = storage();
  const open = () => new Drafts({ workspace: "acme", local: () => local, session: () => session });
  return { local, session, open };
}

const request = { key: "k", text: "Hi", conversation: "c1", parent: null, model: null };

test("a draft is kept for its conversation over a reload", () => {
  const { open } = setUp();
  open().write("c1", "half a thought");
  assert.equal(open().read("c1"), "half a thought");
  assert.equal(open().read(null), "");
});

test("an empty draft leaves nothing behind", () => {
  const { open, local } = setUp();
  open().write("c1", "x");
  open().write("c1", "");
  assert.equal(local.values.size, 0);
});

test("where storage is refused a draft lives as long as the page", () => {
  const refuse = () => { throw new Error("SecurityError"); };
  const drafts = new Drafts({ workspace: "acme", local: refuse, session: refuse });
  drafts.write("c1", "x");
  assert.equal(drafts.read("c1"), "x");
  assert.equal(drafts.pending, null);
});

test("a draft goes when the server has accepted it, not before", async () => {
  const { open } = setUp();
  const drafts = open();
  drafts.write("c1", "Hi");
  const told = [];
  let accept;
  const outbox = new Outbox({ drafts, tell: (name) => told.push(name) });
  const delivery = outbox.deliver({ send: () => new Promise((resolve) => (accept = resolve)) }, request);
  assert.deepEqual([drafts.read("c1"), drafts.pending], ["Hi", request]);
  accept();
  await delivery;
  assert.deepEqual([drafts.read("c1"), drafts.pending, told], ["", null, ["sent"]]);
});

test("a refused request keeps the draft and is not repeated", async () => {
  const { open } = setUp();
  const drafts = open();
  drafts.write("c1", "Hi");
  const told = [];
  const refused = new Error("quota");
  const outbox = new Outbox({ drafts, tell: (name, detail) => told.push([name, detail]) });
  await outbox.deliver({ send: async () => { throw refused; } }, request);
  assert.deepEqual([drafts.read("c1"), drafts.pending], ["Hi", null]);
  assert.deepEqual(told, [["refused", { error: refused, draft: true }]]);
});

test("a request without an answer is repeated word for word after a reload", async () => {
  const { open } = setUp();
  new Outbox({ drafts: open(), tell: () => {} }).deliver({ send: () => new Promise(() => {}) }, request);
  const sent = [];
  const drafts = open();
  await new Outbox({ drafts, tell: () => {} }).resend({ send: async (again) => void sent.push(again) });
  assert.deepEqual(sent, [request]);
  assert.equal(drafts.pending, null);
});
