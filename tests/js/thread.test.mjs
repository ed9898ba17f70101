import assert from "node:assert/strict";
import test from "node:test";
import { answer, question } from "./support/messages.mjs";
import "./support/modules.mjs";

const { Thread } = await import("models/thread");

const ids = (thread) => thread.messages.map(({ id }) => id);

test("a turn is placed below the leaf", () => {
  const thread = new Thread([question("q1"), answer("a1", "q1")]);
  thread.place(question("q2", "a1"));
  thread.place(answer("a2", "q2", { state: "queued", generation: "g" }));
  assert.deepEqual(ids(thread), ["q1", "a1", "q2", "a2"]);
  assert.equal(thread.answering.id, "a2");
});

test("a sibling takes the place of the branch that was shown", () => {
  const thread = new Thread([question("q1"), answer("a1", "q1"), question("q2", "a1"), answer("a2", "q2")]);
  thread.place(answer("b1", "q1", { siblings: ["a1", "b1"] }));
  assert.deepEqual(ids(thread), ["q1", "b1"]);
});

test("a first question takes the place of everything", () => {
  const thread = new Thread([question("q1"), answer("a1", "q1")]);
  thread.place(question("p1"));
  assert.deepEqual(ids(thread), ["p1"]);
});

test("a message whose parent is not shown is not placed", () => {
  const thread = new Thread([question("q1")]);
  assert.equal(thread.place(answer("a9", "q9")), false);
  assert.deepEqual(ids(thread), ["q1"]);
});

test("a repeated message does not take back what its log has brought since", () => {
  const thread = new Thread([question("q1"), answer("a1", "q1", { state: "queued", generation: "g" })]);
  thread.get("a1").apply({ type: "tokens", generation: "g", first: 1, last: 3, text: "Hello" });
  thread.place(answer("a1", "q1", { state: "queued", generation: "g" }));
  assert.deepEqual([thread.get("a1").text, thread.get("a1").seq], ["Hello", 3]);
});

test("another branch keeps a live answer's text and drops one that the server has ended", () => {
  const live = { state: "streaming", generation: "g" };
  const thread = new Thread([question("q1"), answer("a1", "q1", live)]);
  thread.get("a1").apply({ type: "tokens", generation: "g", first: 1, last: 2, text: "He" });
  thread.replace([question("q1"), answer("a1", "q1", live)]);
  assert.equal(thread.get("a1").text, "He");
  thread.replace([question("q1"), answer("a1", "q1", { text: "Hello", generation: "g" })]);
  assert.deepEqual([thread.get("a1").text, thread.get("a1").state], ["Hello", "done"]);
});
