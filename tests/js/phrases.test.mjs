import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const phrases = await import("models/phrases");

const model = (state, progress = 0, error = null) => ({ state, progress, error });

test("ordinals", () => {
  assert.deepEqual([1, 2, 3, 4, 11, 12, 13, 21, 102, 113].map(phrases.ordinal), ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "113th"]);
});

test("the usage line names number, limit, unit and time", () => {
  const usage = { used: 1240, limit: 50000, resets_at: "2026-11-22T00:00:00+00:00" };
  assert.equal(phrases.usageLine(usage), "1,240 of 50,000 tokens today · resets 00:00 UTC");
  assert.equal(phrases.usageLine({ ...usage, limit: null }), "1,240 tokens today");
});

test("a waiting answer says first what the model does, then the place in line and how long it takes", () => {
  const at = (place, wait) => phrases.waitingLine({ place, waiting: 5, wait }, model("ready"));
  assert.equal(phrases.waitingLine({ place: 3, waiting: 5, wait: 20 }, model("loading", 0.429)), "Loading model 42%…");
  assert.equal(at(4, 20), "You’re 4th in line, about 20 s");
  assert.equal(at(2, 180), "You’re 2nd in line, about 3 min");
  assert.equal(at(1, 1), "You’re next, about 1 s");
  assert.equal(at(3, null), "You’re 3rd in line");
  assert.equal(phrases.waitingLine(null, model("ready")), "Waiting for the model…");
});

test("whoever waits long is told why and that nothing is lost", () => {
  const told = (wait, state = "ready") => phrases.busyLine(wait === undefined ? null : { place: 9, wait }, model(state));
  assert.deepEqual([told(undefined), told(null), told(20), told(60, "loading")], ["", "", "", ""]);
  assert.equal(told(30), "All our GPUs are busy. Your message is saved; we’ll start it as soon as we can.");
});

test("a duration has one unit", () => {
  assert.deepEqual([0.2, 90, 91, 5400, 5401].map(phrases.duration), ["1 s", "90 s", "2 min", "90 min", "2 h"]);
});

test("an answer that ended early says what happens next", () => {
  const line = (state, canContinue, error = null, text = "Once") => phrases.endingLine({ state, canContinue, error, text });
  assert.equal(line("stopped", true, null, ""), "You cancelled this before it began.");
  assert.equal(phrases.endingLine({ state: "stopped", canContinue: true, error: null, text: "", thought: "Hm" }), "This answer was stopped.");
  assert.equal(line("failed", false, { code: "no_words", message: "Nothing came. Regenerate it." }, ""), "Nothing came. Regenerate it.");
  assert.equal(line("failed", false, { code: "server_error", message: "It broke." }, ""), "It broke. Regenerate writes a new one.");
  assert.match(line("interrupted", true, null, ""), /Ask again puts it in line once more\.$/);
  assert.equal(line("done", false), "");
  assert.equal(line("done", true), "This answer reached its longest length.");
  assert.equal(line("stopped", true), "This answer was stopped.");
  assert.equal(line("interrupted", true), "The server restarted while this was being written. Continue goes on after its last word.");
  assert.equal(line("failed", false, { message: "Out of memory." }), "Out of memory. Regenerate writes a new one.");
});

test("what the model had no room for is said, and nothing where it read all", () => {
  assert.deepEqual([phrases.droppedLine(0), phrases.droppedLine(undefined)], ["", ""]);
  assert.match(phrases.droppedLine(1), /no longer read the earliest message\.$/);
  assert.match(phrases.droppedLine(1224), /no longer read the earliest 1,224 messages\.$/);
});

test("a refusal counts down to the moment it may be repeated", () => {
  const refusal = { retry_after: 12, resets_at: null };
  assert.equal(phrases.retryLine(refusal, 0), "Try again in 12 s.");
  assert.equal(phrases.retryLine(refusal, 11_500), "Try again in 1 s.");
  assert.equal(phrases.retryLine(refusal, 12_000), "You can try again now.");
  assert.equal(phrases.retryLine({ retry_after: 300, resets_at: null }, 0), "Try again in 5 min.");
  assert.equal(phrases.retryLine({ retry_after: 300, resets_at: "2026-11-22T00:00:00Z" }, 0), "Resets at 00:00 UTC.");
  assert.equal(phrases.retryLine({ retry_after: null, resets_at: null }, 0), "");
});

test("a text over the limit says by how much", () => {
  assert.equal(phrases.tooLong(32_000, 32_000), "");
  assert.equal(phrases.tooLong(33_204, 32_000), "1,204 characters over the limit of 32,000");
});

test("a lost connection says what it is, and where it needs somebody names the way", () => {
  const states = ["down", "restarting", "offline", "logged_out", "suspended", "new_password", "no_second_factor", "not_found", "other_person", "too_many"];
  const lines = states.map((state) => phrases.connectionLine(state, false));
  assert.equal(new Set(lines.map(({ words }) => words)).size, states.length);
  const ways = [null, null, null, "Log in", "What this means", "Log in", "Set one up", "Your workspaces", "Open their chats", "Your workspaces"];
  assert.deepEqual(lines.map(({ way }) => way), ways);
  assert.deepEqual(lines.map(({ to }) => to), [null, null, null, "login", "suspended", "login", "factor", "home", "home", "home"]);
  assert.equal(phrases.connectionLine("logged_out", true).words, "You have been logged out. What you wrote here is kept for you.");
});

test("while the connection is lost nothing is claimed of an answer that nobody sees", () => {
  assert.equal(phrases.connectionLine("down", true).words, "Connection lost. Reconnecting… Then you see how far your answer has come.");
  assert.ok(phrases.connectionLine("offline", true).words.endsWith("Then you see how far your answer has come."));
  assert.equal(phrases.connectionLine("restarting", true).words, "The server is restarting. Reconnecting… What was written is kept.");
  assert.equal(phrases.connectionLine("restarting", true).words, phrases.connectionLine("restarting", false).words);
});

test("a refused message says where it is kept", () => {
  assert.equal(phrases.keptLine({ draft: false }), "");
  assert.equal(phrases.keptLine({ draft: true, elsewhere: false }), "Your message is kept.");
  assert.equal(phrases.keptLine({ draft: true, elsewhere: true }), "Your message is kept in the chat it was written in.");
});

test("whoever may not send is told why, before and while it is sent", () => {
  const said = (connection) => [phrases.obstacle({ text: "Hi", length: 2, limit: 10, connection }), phrases.sendingLine(connection)];
  assert.deepEqual(said("suspended"), ["Your account is switched off", "Sent once your account is switched on again"]);
  assert.deepEqual(said("new_password"), ["Log in again to send this", "Sent once you have logged in again"]);
  for (const code of ["suspended", "new_password"]) {
    assert.match(phrases.endingLine({ state: "unfollowed", error: { code }, text: "a" }), /switched off|new password/);
  }
});

test("the message box says why it does not send", () => {
  const ready = { text: "Hi", length: 2, limit: 10, sending: false, answering: false };
  assert.equal(phrases.obstacle(ready), "");
  assert.equal(phrases.obstacle({ ...ready, text: " \n" }), "Write a message first");
  assert.equal(phrases.obstacle({ ...ready, sending: true }), "Sending…");
  assert.equal(phrases.obstacle({ ...ready, refused: 11.2 }), "You can send this in 12 s");
  assert.equal(phrases.obstacle({ ...ready, answering: true }), "Wait for the answer, or stop it with Esc");
  assert.equal(phrases.obstacle({ ...ready, length: 11 }), "1 character over the limit of 10");
});

test("an answer that a page no longer follows says so and how to see the rest", () => {
  const line = (code) => phrases.endingLine({ state: "unfollowed", canContinue: false, error: { code }, text: "Hell" });
  assert.equal(line("logged_out"), "This page no longer follows the answer. Log in to see the rest.");
  assert.equal(line("other_person"), "This page no longer follows the answer. Log in again to see the rest.");
  assert.equal(line("not_found"), "This page no longer follows the answer. You are no longer a member of this workspace.");
});

test("how an answer was drawn is told without what is off", () => {
  const line = phrases.drawnLine;
  assert.equal(line({ temperature: 0.7, top_p: 0.9, top_k: 0, min_p: 0.05, max_tokens: 9 }), "temperature 0.7, top-p 0.9, min-p 0.05");
  assert.equal(line({ temperature: 1, top_p: 1, top_k: -1, min_p: 0 }), "temperature 1");
  assert.equal(line({ temperature: 0, top_p: 0.9, top_k: 20 }), "temperature 0");
  assert.equal(line({ top_k: 1 }), "top-k 1");
  assert.equal(line({ temperature: null, top_p: "0.9", min_p: NaN }), "");
  assert.equal(line({}), "");
});
