import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Drafts, forget } = await import("models/drafts");
const { Outbox } = await import("models/outbox");

function storage() {
  const values = new Map();
  return {
    values,
    get length() { return values.size; },
    key: (index) => [...values.keys()][index],
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => values.set(key, value),
    removeItem: (key) => values.delete(key),
  };
}

function setUp() {
  const local = storage();
  const session = storage();
  const open = (person = "ana") => new Drafts({ person, workspace: "acme", local: () => local, session: () => session });
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
  const drafts = new Drafts({ person: "ana", workspace: "acme", local: refuse, session: refuse });
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
  assert.deepEqual(told, [["refused", { error: refused, draft: true, elsewhere: true }]]);
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

test("what one person typed and left unsent is neither shown to the next nor sent by them", async () => {
  const { open } = setUp();
  open("ana").write(null, "my salary");
  new Outbox({ drafts: open("ana"), tell: () => {} }).deliver({ send: () => new Promise(() => {}) }, request);
  const theirs = open("ben");
  assert.deepEqual([theirs.read(null), theirs.pending], ["", null]);
  const sent = [];
  await new Outbox({ drafts: theirs, tell: () => {} }).resend({ send: async (again) => void sent.push(again) });
  assert.deepEqual(sent, []);
  assert.deepEqual([open("ana").read(null), open("ana").pending], ["my salary", request]);
});

test("logging out takes nothing from a person whose name merely begins alike", () => {
  const { open, local, session } = setUp();
  open("ana").write("c1", "hers");
  forget("an", [() => local, () => session]);
  assert.equal(open("ana").read("c1"), "hers");
});

test("logging out takes along what this person typed in every workspace, and what nobody's name was on", () => {
  const { local, session, open } = setUp();
  const elsewhere = new Drafts({ person: "ana", workspace: "other", local: () => local, session: () => session });
  open().write("c1", "x");
  open().write(null, "y");
  elsewhere.write(null, "z");
  open().pending = request;
  open("ben").write("c1", "his");
  local.setItem("draft:acme:new", "from before");
  session.setItem("pending:acme:new", "{}");
  local.setItem("sidebar", "closed");
  const refused = () => { throw new Error("SecurityError"); };
  forget("ana", [refused, () => local, () => session]);
  assert.deepEqual([...local.values.keys()].sort(), ["person:ben:draft:acme:c1", "sidebar"]);
  assert.equal(session.values.size, 0);
});

test("a text is sent without what no keyboard writes, also one that was written down before", async () => {
  const { open } = setUp();
  const sent = [];
  const session = { send: async ({ text }) => void sent.push(text) };
  const drafts = open();
  await new Outbox({ drafts, tell: () => {} }).post(session, { text: "a \ud83d b\u0001", conversation: null });
  drafts.pending = { ...request, text: "\u0000c\udc00" };
  await new Outbox({ drafts: open(), tell: () => {} }).resend(session);
  assert.deepEqual(sent, ["a \ufffd b", "c\ufffd"]);
});

test("a question that is asked again after a refusal is the same act, any other a new one", async () => {
  const keys = [];
  let fails = 2;
  const session = {
    send: async ({ key }) => {
      keys.push(key);
      if (fails-- > 0) throw new Error("The connection broke");
    },
  };
  const outbox = new Outbox({ drafts: setUp().open(), tell: () => {} });
  const question = { text: "Hi", conversation: null, parent: null, model: null };
  await outbox.post(session, question);
  await outbox.post(session, { ...question, text: "Ho" });
  await outbox.post(session, { ...question, text: "Ho" });
  await outbox.post(session, { ...question, text: "Ho" });
  const [first, second, again, afterwards] = keys;
  assert.equal(second, again);
  assert.equal(new Set([first, second, afterwards]).size, 3);
});
