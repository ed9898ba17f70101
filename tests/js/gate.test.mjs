import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Gate } = await import("models/gate");

test("a message may be sent once it has words, is short enough and nothing else is under way", () => {
  const gate = new Gate({ limit: 3 });
  assert.equal(gate.obstacle("Hi"), "");
  assert.equal(gate.obstacle(" "), "Write a message first");
  assert.equal(gate.obstacle("🦊🦊🦊"), "", "code points are counted");
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
