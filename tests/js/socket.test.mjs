import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Connection, RequestRefused, socketUrl } = await import("models/socket");

/** A connection on sockets and timers that the test moves by hand. */
function setUp(random = () => 1) {
  const sockets = [];
  const timers = new Map();
  let nextTimer = 1;
  class WebSocket {
    sent = [];
    closed = false;
    constructor() { sockets.push(this); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.closed = true; }
    say(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  }
  const clock = {
    setTimeout: (run, delay) => (timers.set(nextTimer, { run, delay }), nextTimer++),
    clearTimeout: (id) => timers.delete(id),
  };
  const told = [];
  const connection = new Connection({
    url: "ws://here/", WebSocket, timers: clock, random,
    onOpen: () => told.push("open"),
    onDown: () => told.push("down"),
    onRefused: (why) => told.push(why),
    onFrame: (frame) => told.push(frame.type),
  });
  const fire = () => {
    const [[id, { run, delay }]] = timers;
    timers.delete(id);
    run();
    return delay;
  };
  return { connection, sockets, told, fire, timers };
}

const welcome = { type: "welcome", protocol: 1 };

test("a request waits for the welcome and resolves with its reply", async () => {
  const { connection, sockets } = setUp();
  connection.connect();
  const reply = connection.request({ type: "send", key: "k" });
  assert.deepEqual(sockets[0].sent, []);
  sockets[0].say(welcome);
  assert.deepEqual(sockets[0].sent, [{ type: "send", key: "k", ref: "r1" }]);
  sockets[0].say({ type: "accepted", ref: "r1", generation: "g" });
  assert.equal((await reply).generation, "g");
});

test("a refusal rejects with its code and its time to wait", async () => {
  const { connection, sockets } = setUp();
  connection.connect();
  sockets[0].say(welcome);
  const reply = connection.request({ type: "send", key: "k" });
  sockets[0].say({ type: "error", ref: "r1", error: { code: "rate_limited", message: "Slow", retry_after: 9, resets_at: null } });
  await assert.rejects(reply, (error) => {
    assert.ok(error instanceof RequestRefused);
    assert.deepEqual([error.code, error.message, error.retry_after], ["rate_limited", "Slow", 9]);
    return true;
  });
});

test("an unanswered request with a key is sent again with the same key after a reconnect", () => {
  const { connection, sockets, fire, timers } = setUp();
  connection.connect();
  sockets[0].say(welcome);
  connection.request({ type: "send", key: "k" });
  sockets[0].onclose({ code: 1006 });
  timers.size && fire();
  sockets[1].say(welcome);
  assert.deepEqual(sockets[1].sent, [{ type: "send", key: "k", ref: "r1" }]);
});

test("the wait between attempts doubles up to ten seconds and begins anew after a welcome", () => {
  const { connection, sockets, fire } = setUp();
  connection.connect();
  const waits = [];
  for (let i = 0; i < 8; i++) {
    sockets.at(-1).onclose({ code: 1006 });
    waits.push(fire());
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
  sockets.at(-1).say(welcome);
  sockets.at(-1).onclose({ code: 1006 });
  assert.equal(fire(), 250);
});

test("the wait is spread evenly below its ceiling", () => {
  const { connection, sockets, fire } = setUp(() => 0.4);
  connection.connect();
  sockets[0].onclose({ code: 1006 });
  assert.equal(fire(), 100);
});

test("a server that restarts is called again within a quarter of a second, however often it does", () => {
  const { connection, sockets, fire } = setUp();
  connection.connect();
  for (let i = 0; i < 4; i++) {
    sockets.at(-1).onclose({ code: 1012 });
    assert.equal(fire(), 250);
  }
});

test("somebody logged out or no longer a member is not tried again", () => {
  for (const [code, why] of [[4401, "logged_out"], [4404, "not_found"]]) {
    const { connection, sockets, told, timers } = setUp();
    connection.connect();
    sockets[0].onclose({ code });
    assert.deepEqual(told, [why]);
    assert.equal(timers.size, 0);
  }
});

test("a silent connection is asked, then given up", () => {
  const { connection, sockets, told, fire } = setUp();
  connection.connect();
  sockets[0].say(welcome);
  assert.equal(fire(), 20000);
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  assert.equal(fire(), 8000);
  assert.ok(sockets[0].closed);
  assert.equal(told.at(-1), "down");
  sockets[0].onclose({ code: 1006 });
  assert.equal(told.filter((word) => word === "down").length, 1);
});

test("a pong keeps the connection and is told to nobody", () => {
  const { connection, sockets, told, fire } = setUp();
  connection.connect();
  sockets[0].say(welcome);
  fire();
  sockets[0].say({ type: "pong", ref: "r1" });
  assert.equal(fire(), 20000);
  assert.deepEqual(told, ["open", "welcome"]);
});

test("when the network is back the next attempt is made at once", () => {
  const { connection, sockets, timers } = setUp();
  connection.connect();
  sockets[0].onclose({ code: 1006 });
  connection.wake();
  assert.equal(sockets.length, 2);
  assert.equal(timers.size, 0);
});

test("the socket is secure where the page is", () => {
  assert.equal(socketUrl({ protocol: "https:", host: "a.example" }, "/ws/w/x/"), "wss://a.example/ws/w/x/");
  assert.equal(socketUrl({ protocol: "http:", host: "localhost:8000" }, "/ws/w/x/"), "ws://localhost:8000/ws/w/x/");
});
