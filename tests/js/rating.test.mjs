import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Ratings } = await import("models/rating");

function setUp({ refuse = false } = {}) {
  const shown = [];
  const words = [];
  const sent = [];
  const call = (method) => async (path, body) => {
    sent.push([method, path, body]);
    if (refuse) throw new Error("No.");
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
