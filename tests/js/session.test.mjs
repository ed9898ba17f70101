import assert from "node:assert/strict";
import test from "node:test";
import { answer, question } from "./support/messages.mjs";
import "./support/modules.mjs";

const { Session } = await import("models/session");

const live = { state: "queued", generation: "g" };

/** A session whose connection answers requests with `reply` and writes down what it is told. */
function setUp({ conversation = { id: "c" }, messages = [], reply = null, stored = [], outages = [] } = {}) {
  const sent = [];
  const told = [];
  const refusals = [];
  const timers = [];
  const connection = {
    tell: (make, never) => (sent.push(make()), refusals.push(never)),
    request: async (frame) => (sent.push(frame), reply),
  };
  const read = async () => {
    if (outages.length) throw outages.shift();
    return { messages: stored };
  };
  const api = { get: read, patch: async (path, body) => (sent.push({ path, ...body }), { messages: stored }) };
  const session = new Session({ conversation, messages, connection, api, emit: (name, detail) => told.push([name, detail]), later: (run) => timers.push(run) });
  const elapse = async () => {
    await new Promise(setImmediate);
    timers.splice(0).forEach((run) => run());
    await new Promise(setImmediate);
  };
  return { session, sent, told, refusals, timers, elapse, names: () => told.map(([name]) => name) };
}

const tokens = (first, last, text) => ({ type: "tokens", message: "a", generation: "g", first, last, text });
const end = (seq, length) => ({ type: "end", message: "a", generation: "g", seq, state: "done", error: null, length, output_tokens: 1, can_continue: false });
const subscribe = (after_seq) => ({ type: "subscribe", message: "a", generation: "g", after_seq });

test("a new conversation takes the page over when its first question is accepted", async () => {
  const conversation = { id: "n", title: "Hi", url: "/w/x/chat/n/", new: true };
  const reply = { conversation, user_message: question("q"), answer: answer("a", "q", live), generation: "g" };
  const { session, names, sent } = setUp({ conversation: null, reply });
  await session.send({ key: "k", text: "Hi", conversation: null, parent: null, model: null });
  assert.deepEqual(sent, [{ type: "send", key: "k", text: "Hi", conversation: null, parent: null, model: null }]);
  assert.deepEqual(session.thread.messages.map(({ id }) => id), ["q", "a"]);
  assert.deepEqual(names(), ["conversation", "thread"]);
});

test("a question repeated from another conversation leaves the shown one alone", async () => {
  const reply = { conversation: { id: "n" }, user_message: question("q"), answer: answer("a", "q", live), generation: "g" };
  const { session, told } = setUp({ messages: [question("x")], reply });
  await session.send({ key: "k", text: "Hi", conversation: null, parent: null, model: null });
  assert.deepEqual(session.thread.messages.map(({ id }) => id), ["x"]);
  assert.deepEqual(told, [["conversation", { conversation: { id: "n" }, shown: false }]]);
});

test("after a reconnect every answer goes on from its last event", () => {
  const { session, sent } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  session.receive(tokens(1, 4, "Hell"));
  session.resume();
  assert.deepEqual(sent, [{ type: "open", conversation: "c" }, subscribe(4)]);
});

test("a stop that was lost with the connection is asked for again", () => {
  const { session, sent } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  session.stop();
  session.resume();
  assert.deepEqual(sent.filter(({ type }) => type === "stop"), [{ type: "stop", message: "a" }, { type: "stop", message: "a" }]);
});

test("frames after a gap ask once for what is missing", () => {
  const { session, sent, names } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  session.receive(tokens(3, 3, "x"));
  session.receive(tokens(4, 4, "y"));
  assert.deepEqual(sent, [subscribe(0)]);
  session.receive(tokens(1, 4, "abxy"));
  assert.equal(session.thread.get("a").text, "abxy");
  assert.deepEqual(names(), ["message"]);
});

test("an end whose length does not fit even after asking again is read from the database", async () => {
  const stored = [question("q"), answer("a", "q", { text: "Hello", generation: "g" })];
  const { session, sent } = setUp({ messages: [question("q"), answer("a", "q", live)], stored });
  session.receive(tokens(1, 1, "Hell"));
  session.receive(end(2, 5));
  session.receive(end(2, 5));
  await new Promise(setImmediate);
  assert.deepEqual(sent, [subscribe(1)]);
  assert.deepEqual([session.thread.get("a").text, session.thread.get("a").state], ["Hello", "done"]);
});

test("growing text is told apart from a change of state", () => {
  const { session, names } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  session.receive(tokens(1, 1, "a"));
  session.receive(tokens(2, 2, "b"));
  session.receive(end(3, 2));
  assert.deepEqual(names(), ["message", "text", "message"]);
});

test("a turn written in another tab is shown and followed", () => {
  const { session, sent } = setUp({ messages: [question("p"), answer("o", "p")] });
  session.receive({ type: "message", conversation: "c", messages: [question("q", "o"), answer("a", "q", live)] });
  assert.deepEqual(session.thread.messages.map(({ id }) => id), ["p", "o", "q", "a"]);
  assert.deepEqual(sent, [subscribe(0)]);
});

test("a turn on a branch that is not shown brings the page up to date", async () => {
  const stored = [question("p"), answer("z", "p")];
  const { session } = setUp({ messages: [question("p")], stored });
  session.receive({ type: "message", conversation: "c", messages: [question("q", "elsewhere")] });
  await new Promise(setImmediate);
  assert.deepEqual(session.thread.messages.map(({ id }) => id), ["p", "z"]);
});

test("what happened while the connection was down is read anew", async () => {
  const stored = [question("p"), answer("o", "p"), question("q", "o"), answer("a", "q", { text: "Yes" })];
  const { session } = setUp({ messages: [question("p"), answer("o", "p")], stored });
  session.receive({ type: "opened", conversation: "c", leaf: "a", title: "T" });
  await new Promise(setImmediate);
  assert.equal(session.thread.leaf.text, "Yes");
});

test("switching the branch asks the server and shows what it says", async () => {
  const stored = [question("q"), answer("b", "q", { siblings: ["a", "b"], text: "Other" })];
  const { session, sent } = setUp({ messages: [question("q"), answer("a", "q", { siblings: ["a", "b"] })], stored });
  await session.show("b");
  assert.deepEqual(sent, [{ path: "conversations/c/", leaf: "b" }]);
  assert.equal(session.thread.leaf.text, "Other");
});

const outage = (code) => Object.assign(new Error(code), { code });

test("a subscription or a stop that is made again goes on from where the answer is by then, or not at all", () => {
  const makers = [];
  const { session } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  session.connection.tell = (make) => makers.push(make);
  session.resume();
  session.stop();
  const [open, subscription, stop] = makers;
  session.receive(tokens(1, 3, "abc"));
  assert.deepEqual(subscription(), subscribe(3));
  session.receive(end(4, 3));
  assert.equal(subscription(), null);
  assert.ok(!stop());
  session.leave();
  assert.equal(open(), null);
});

test("a conversation that is read anew is read again when the server fails, and after it is gone never", async () => {
  for (const code of ["offline", "server_error", "unavailable"]) {
    const stored = [question("q"), answer("a", "q", { text: "Yes" })];
    const { session, elapse } = setUp({ messages: [question("q")], stored, outages: [outage(code), outage(code)] });
    session.receive({ type: "opened", conversation: "c", leaf: "a", title: "" });
    await elapse();
    assert.equal(session.thread.leaf.id, "q");
    await elapse();
    assert.equal(session.thread.leaf.text, "Yes");
  }
  const { session, told, timers, elapse } = setUp({ outages: [outage("not_found")] });
  await session.reload();
  await elapse();
  assert.deepEqual([told, timers], [[["removed", { id: "c" }]], []]);
});

test("a conversation that cannot be opened any more is looked for once, and is told as removed when it is gone", async () => {
  const { session, told, refusals } = setUp({ outages: [outage("not_found")] });
  session.resume();
  refusals[0]();
  await new Promise(setImmediate);
  assert.deepEqual(told, [["removed", { id: "c" }]]);
});

test("a stream that fails names its answer, and that one alone is subscribed to again after a pause", async () => {
  const { session, sent, elapse } = setUp({ messages: [question("q"), answer("a", "q", live)] });
  const failed = (more = {}) => session.receive({ type: "error", ref: null, message: "a", generation: "g", error: { code: "server_error" }, ...more });
  session.receive(tokens(1, 2, "ab"));
  failed();
  assert.deepEqual(sent, []);
  await elapse();
  assert.deepEqual(sent, [subscribe(2)]);
  failed({ message: "x" });
  failed({ ref: "r9" });
  failed({ message: undefined });
  await elapse();
  assert.equal(sent.length, 1);
});

test("a stream that can never go on is read from the database", async () => {
  const stored = [question("q"), answer("a", "q", { generation: "g", text: "Yes" })];
  const { session, sent, elapse } = setUp({ messages: [question("q"), answer("a", "q", live)], stored });
  session.receive({ type: "error", ref: null, message: "a", generation: "g", error: { code: "not_found" } });
  await elapse();
  assert.deepEqual([session.thread.leaf.text, sent], ["Yes", []]);
});

test("a conversation that was left says nothing any more", async () => {
  const { session, told, sent } = setUp({ messages: [question("q"), answer("a", "q", live)], stored: [] });
  session.leave();
  session.receive(tokens(1, 1, "a"));
  await session.reload();
  assert.deepEqual([told, sent], [[], []]);
});

test("a page that is shut out follows no answer any more, and does not say what became of it", () => {
  for (const state of ["queued", "streaming"]) {
    const { session, names } = setUp({ messages: [question("q"), answer("a", "q", { ...live, state, text: "Hell" }), question("p", "a")] });
    session.unfollow("logged_out");
    const message = session.thread.get("a");
    assert.deepEqual([message.state, message.live, message.waits, message.thinks, message.canContinue, message.text], ["unfollowed", false, false, false, false, "Hell"]);
    assert.equal(session.thread.answering, null);
    assert.deepEqual(names(), ["message"]);
    assert.equal(session.thread.get("q").state, "done");
  }
});
