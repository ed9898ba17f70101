import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { MessageStream, codePoints } = await import("models/stream");

const answer = (changes = {}) =>
  new MessageStream({
    id: "a", role: "assistant", state: "queued", text: "", parent: "q", generation: "g", model: null,
    siblings: ["a"], rating: null, can_continue: false, error: null, ...changes,
  });
const tokens = (first, last, text) => ({ type: "tokens", generation: "g", first, last, text });
const end = (seq, length, changes = {}) => ({
  type: "end", generation: "g", seq, state: "done", error: null, length, output_tokens: 2, can_continue: false, ...changes,
});

test("text grows by consecutive events only", () => {
  const stream = answer();
  assert.equal(stream.apply(tokens(1, 2, "Hel")), "applied");
  assert.equal(stream.apply(tokens(3, 3, "lo")), "applied");
  assert.deepEqual([stream.text, stream.seq, stream.state], ["Hello", 3, "streaming"]);
});

test("a missing event is a gap and changes nothing", () => {
  const stream = answer();
  stream.apply(tokens(1, 2, "Hel"));
  assert.equal(stream.apply(tokens(4, 5, "x")), "gap");
  assert.deepEqual([stream.text, stream.seq], ["Hel", 2]);
});

test("an event applied before is ignored", () => {
  const stream = answer();
  stream.apply(tokens(1, 2, "Hel"));
  assert.equal(stream.apply(tokens(1, 2, "Hel")), "ignored");
  assert.equal(stream.text, "Hel");
});

test("frames of another generation are ignored", () => {
  const stream = answer();
  assert.equal(stream.apply({ ...tokens(1, 1, "x"), generation: "old" }), "ignored");
  assert.equal(stream.text, "");
});

test("the end is a gap while text before it is missing", () => {
  const stream = answer();
  stream.apply(tokens(1, 2, "Hel"));
  assert.equal(stream.apply(end(5, 5)), "gap");
  assert.equal(stream.state, "streaming");
});

test("the end is a gap when the length differs from the server's", () => {
  const stream = answer();
  stream.apply(tokens(1, 2, "Hel"));
  assert.equal(stream.apply(end(3, 4)), "gap");
});

test("lengths are counted in code points", () => {
  assert.equal(codePoints("añ🙂👩‍👧"), 6);
  const stream = answer();
  stream.apply(tokens(1, 1, "🙂"));
  assert.equal(stream.apply(end(2, 1)), "applied");
  assert.deepEqual([stream.state, stream.outputTokens], ["done", 2]);
});

test("what a reload brings is what the log had told: tokens written, messages left out", () => {
  const stored = answer({ state: "done", text: "Hi", output_tokens: 12, dropped_messages: 224, sampling: { top_p: 0.9 } });
  assert.deepEqual([stored.outputTokens, stored.dropped, stored.sampling], [12, 224, { top_p: 0.9 }]);
  assert.deepEqual([answer().outputTokens, answer().dropped, answer().sampling], [null, 0, {}]);
  const stream = answer();
  stream.apply({ type: "state", generation: "g", state: "streaming", sampling: { top_k: 4 }, dropped_messages: 3 });
  stream.apply({ type: "state", generation: "g", state: "streaming" });
  assert.deepEqual([stream.dropped, stream.sampling], [3, { top_k: 4 }]);
});

const thinking = (first, last, thought, text = "") => ({ ...tokens(first, last, text), thought });

test("thoughts come before the text, and are no part of it nor of its length", () => {
  const stream = answer();
  stream.apply(thinking(1, 2, "Hm"));
  assert.deepEqual([stream.thought, stream.text, stream.state, stream.thinks, stream.waits], ["Hm", "", "streaming", true, false]);
  stream.apply(thinking(3, 3, ", well.\n\n", "Yes"));
  assert.deepEqual([stream.thought, stream.text, stream.thinks], ["Hm, well.", "Yes", false]);
  assert.equal(stream.apply(end(4, 3)), "applied");
  assert.deepEqual([stream.thought, stream.text, stream.state], ["Hm, well.", "Yes", "done"]);
});

test("a thought that came before is not taken twice, and one that is missing is a gap", () => {
  const stream = answer();
  stream.apply(thinking(1, 1, "Hm"));
  assert.equal(stream.apply(thinking(1, 1, "Hm")), "ignored");
  assert.equal(stream.apply(thinking(3, 3, "?")), "gap");
  assert.equal(stream.thought, "Hm");
});

test("an answer that only thought has failed, and no longer thinks", () => {
  const stream = answer();
  stream.apply(thinking(1, 1, "Hm"));
  stream.apply(end(2, 0, { state: "failed", error: { code: "no_words", message: "Only thought." } }));
  assert.deepEqual([stream.thinks, stream.thought, stream.canContinue, stream.error.code], [false, "Hm", false, "no_words"]);
});

test("an answer that waits to go on does not think yet, though it thought before", () => {
  const stream = answer({ thought: "Hm" });
  assert.deepEqual([stream.waits, stream.thinks], [true, false]);
  stream.apply({ type: "state", generation: "g", state: "streaming" });
  assert.deepEqual([stream.waits, stream.thinks], [true, false]);
  stream.apply(thinking(1, 1, "Again"));
  assert.deepEqual([stream.waits, stream.thinks, stream.thought], [false, true, "Hm\n\nAgain"]);
});

test("what goes on adds its tokens and its thoughts to those there are", () => {
  const stream = answer({ state: "stopped", text: "One ", thought: "First.", output_tokens: 12 });
  const stored = { id: "a", role: "assistant", parent: "q", siblings: ["a"], rating: null, error: null, model: null };
  stream.update({ ...stored, state: "queued", text: "One ", thought: "First.", output_tokens: 12, generation: "h", can_continue: false });
  stream.apply({ ...thinking(1, 1, "Second. ", "two"), generation: "h" });
  stream.apply({ ...end(2, 7, { output_tokens: 5 }), generation: "h" });
  assert.deepEqual([stream.text, stream.thought, stream.outputTokens], ["One two", "First.\n\nSecond.", 17]);
});

test("a resync replaces the thought, as it does the text", () => {
  const stream = answer();
  stream.apply(thinking(1, 1, "Hm"));
  stream.apply({ type: "resync", generation: "g", seq: 1, state: "done", text: "Yes", thought: "Hm, well.", can_continue: false });
  assert.deepEqual([stream.thought, stream.text], ["Hm, well.", "Yes"]);
});

test("a resync tells how the answer was made, and what it does not tell stays", () => {
  const stream = answer({ state: "streaming", model: "old", output_tokens: 4 });
  const resync = { type: "resync", generation: "g", seq: 1, state: "done", text: "Yes", can_continue: false };
  stream.apply({ ...resync, model: "new", output_tokens: 17, dropped_messages: 2 });
  assert.deepEqual([stream.model, stream.outputTokens, stream.dropped], ["new", 17, 2]);
  stream.apply(resync);
  assert.deepEqual([stream.model, stream.outputTokens, stream.dropped], ["new", 17, 2]);
});

test("nothing follows the end", () => {
  const stream = answer();
  stream.apply(end(1, 0, { state: "stopped", can_continue: true }));
  assert.equal(stream.apply({ type: "state", generation: "g", state: "streaming" }), "ignored");
  assert.deepEqual([stream.state, stream.canContinue], ["stopped", true]);
});

test("resync replaces the text and the stream goes on from there", () => {
  const stream = answer();
  stream.apply(tokens(1, 1, "wrong"));
  stream.apply({ type: "resync", generation: "g", seq: 7, state: "streaming", text: "right", can_continue: false });
  assert.equal(stream.apply(tokens(8, 8, "!")), "applied");
  assert.deepEqual([stream.text, stream.seq], ["right!", 8]);
});

test("a continued answer keeps its text and counts its new log from one", () => {
  const stream = answer({ state: "stopped", text: "One, ", can_continue: true });
  stream.update({ id: "a", role: "assistant", state: "queued", text: "One, ", parent: "q", generation: "h", siblings: ["a"], rating: null, can_continue: false });
  assert.equal(stream.apply({ ...tokens(1, 1, "two"), generation: "h" }), "applied");
  assert.equal(stream.text, "One, two");
});

test("every way of cutting a log and reconnecting gives the same text", () => {
  const log = [..."The quick 🙂 brown fox"].map((text, index) => ({ seq: index + 1, text }));
  const whole = log.map(({ text }) => text).join("");
  for (let seed = 1; seed <= 200; seed++) {
    const random = generator(seed);
    const stream = answer();
    while (stream.seq < log.length) {
      const from = Math.floor(random() * log.length);
      const to = from + 1 + Math.floor(random() * (log.length - from));
      const part = log.slice(from, to);
      stream.apply(tokens(part[0].seq, part.at(-1).seq, part.map(({ text }) => text).join("")));
    }
    assert.equal(stream.text, whole);
  }
});

function generator(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
