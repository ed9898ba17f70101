import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Ratings, same, wordless } = await import("models/rating");

function setUp(outage = { refuse: false }) {
  const shown = [];
  const words = [];
  const sent = [];
  const call = (method) => async (path, body) => {
    sent.push([method, path, body]);
    if (outage.refuse) throw new Error("No.");
  };
  const api = { put: call("put"), delete: call("delete") };
  const ratings = new Ratings({ api, show: (message, rating) => shown.push(rating), complain: (text) => words.push(text) });
  return { ratings, shown, words, sent };
}

const bad = { value: -1, reasons: ["wrong"], comment: "It was short." };

test("the other thumb keeps the comment, and each side its reasons", async () => {
  const { ratings, sent } = setUp();
  const good = ratings.turned("m", bad, 1);
  assert.deepEqual(good, { value: 1, reasons: [], comment: "It was short." });
  await ratings.put("m", good, bad);
  assert.deepEqual(sent, [["put", "messages/m/rating/", good]]);
  const chosen = { ...good, reasons: ["clear"], comment: "Both." };
  await ratings.put("m", chosen, good);
  assert.deepEqual(ratings.turned("m", chosen, -1), { value: -1, reasons: ["wrong"], comment: "Both." });
  assert.deepEqual(ratings.turned("m", bad, 1).reasons, ["clear"]);
});

test("another answer has nothing of it", () => {
  const { ratings } = setUp();
  ratings.turned("m", bad, 1);
  assert.deepEqual(ratings.turned("n", null, -1), { value: -1, reasons: [], comment: "" });
});

test("what the server refuses is shown as it was before, with a word", async () => {
  const { ratings, shown, words } = setUp({ refuse: true });
  assert.equal(await ratings.put("m", { ...bad, comment: "x" }, bad), false);
  assert.equal(await ratings.remove("m", bad), false);
  assert.deepEqual([shown.map((rating) => rating?.comment ?? null), words], [["x", "It was short.", null, "It was short."], ["No.", "No."]]);
});

test("after a removal nothing of it comes back, whichever thumb is pressed, unless it could not be removed", async () => {
  const { ratings } = setUp();
  await ratings.put("m", bad, null);
  const good = { value: 1, reasons: ["clear"], comment: "Both." };
  await ratings.put("m", good, bad);
  const removal = ratings.remove("m", good);
  const pressed = [-1, 1].map((value) => ratings.turned("m", null, value));
  await removal;
  pressed.push(...[-1, 1].map((value) => ratings.turned("m", null, value)));
  assert.deepEqual(pressed.map(({ reasons, comment }) => [reasons, comment]), Array(4).fill([[], ""]));
  const refused = setUp({ refuse: true }).ratings;
  await refused.remove("m", bad);
  assert.deepEqual(refused.turned("m", bad, -1), bad);
});

test("what could not be saved is kept for its own thumb until it is saved or removed", async () => {
  const outage = { refuse: true };
  const { ratings } = setUp(outage);
  const said = { ...bad, comment: "It was far too short." };
  await ratings.put("m", said, bad);
  assert.deepEqual(ratings.unsaved("m", bad), said);
  assert.equal(ratings.unsaved("m", { ...bad, value: 1 }), null);
  assert.equal(ratings.unsaved("m", null), null);
  assert.equal(ratings.unsaved("n", bad), null);
  assert.equal(ratings.turned("m", bad, 1).comment, "It was far too short.");
  outage.refuse = false;
  await ratings.put("m", said, bad);
  assert.equal(ratings.unsaved("m", said), null);
  outage.refuse = true;
  await ratings.put("m", said, bad);
  await ratings.remove("m", bad);
  assert.equal(ratings.unsaved("m", bad), null);
});

test("two ratings are the same in whatever order their reasons were ticked", () => {
  const one = { ...bad, reasons: ["wrong", "too_long"] };
  assert.equal(same(one, { ...bad, reasons: ["too_long", "wrong"] }), true);
  assert.deepEqual(one.reasons, ["wrong", "too_long"]);
  for (const other of [bad, { ...one, comment: "" }, { ...one, value: 1 }]) assert.equal(same(one, other), false);
  assert.deepEqual([one, { ...bad, reasons: [] }, { ...bad, comment: "" }, { value: 1, reasons: [], comment: "" }].map(wordless), [false, false, false, true]);
});
