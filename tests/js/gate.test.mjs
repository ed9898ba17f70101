import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Gate } = await import("models/gate");

test("a message may be sent once it has words, is short enough and nothing else is under way", () => {
  const gate = new Gate({ limit: 3 });
  assert.equal(gate.obstacle("Hi"), "");
  assert.equal(gate.obstacle(" "), "Write a message first");
  assert.equal(gate.obstacle("🦊🦊🦊"), "", "code points are counted");
  assert.equal(gate.obstacle("\u0001\u0000 \u001b"), "Write a message first", "nothing of it can be sent");
  assert.equal(gate.obstacle("\u0001\u0001Hey"), "", "what is not sent does not count");
  assert.equal(gate.obstacle("abcd"), "1 character over the limit of 3");
  assert.equal(gate.warning("abcd"), "1 character over the limit of 3");
  assert.equal(gate.warning(" "), "");
  gate.sending = true;
  assert.equal(gate.obstacle("Hi"), "Sending…");
  Object.assign(gate, { sending: false, answering: true });
  assert.equal(gate.obstacle("Hi"), "Wait for the answer, or stop it with Esc");
});

test("a refused message is held until its time, or until the hold is lifted", () => {
  let now = 1000;
  const gate = new Gate({ limit: 100, now: () => now });
  gate.hold(5000);
  assert.equal(gate.obstacle("Hi"), "You can send this in 5 s");
  now += 4001;
  assert.equal(gate.obstacle("Hi"), "You can send this in 1 s");
  now += 1000;
  assert.equal(gate.obstacle("Hi"), "");
  gate.hold(5000);
  gate.hold(0);
  assert.equal(gate.obstacle("Hi"), "");
});

test("without a connection a message waits and says for what; behind a closed door none is begun", () => {
  const gate = new Gate({ limit: 100 });
  for (const connection of ["down", "offline", "restarting"]) {
    Object.assign(gate, { connection, sending: false });
    assert.deepEqual([gate.obstacle("Hi"), gate.warning("Hi")], ["", ""]);
    gate.sending = true;
    assert.deepEqual([gate.obstacle("Hi"), gate.warning("Hi")], Array(2).fill("Sent as soon as the connection is back"));
  }
  Object.assign(gate, { connection: "logged_out", sending: false });
  assert.equal(gate.obstacle("Hi"), "Log in again to send this");
  gate.sending = true;
  assert.equal(gate.warning("Hi"), "Sent once you have logged in again");
});
