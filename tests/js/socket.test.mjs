import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { RequestRefused } = await import("models/requests");
const { Connection, socketUrl } = await import("models/socket");

/** A connection on sockets and timers that the test moves by hand. */
function setUp(random = () => 1) {
  const sockets = [];
  const timers = new Map();
  const time = { now: 0 };
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
    setTimeout: (run, delay) => (timers.set(nextTimer, { run, delay, at: time.now + delay }), nextTimer++),
    clearTimeout: (id) => timers.delete(id),
  };
  const told = [];
  const connection = new Connection({
    url: "ws://here/", person: "ana", WebSocket, clock, random,
    now: () => time.now,
    onOpen: () => told.push("open"),
    onDown: (why) => told.push(why),
    onBarred: (why) => told.push(why),
    onReturn: () => told.push("return"),
    onFrame: (frame) => told.push(frame.type),
  });
  /** Let the time come of the timer that is due first; returns how long that took. */
  const fire = () => {
    const [id, { run, at, delay }] = [...timers].reduce((first, next) => (next[1].at < first[1].at ? next : first));
    timers.delete(id);
    time.now = at;
    run();
    return delay;
  };
  const lose = (code) => sockets.at(-1).onclose({ code });
  const open = () => (connection.connect(), sockets.at(-1).say(welcome));
  return { connection, sockets, told, fire, timers, time, lose, open };
}

const welcome = { type: "welcome", protocol: 1, person: "ana" };

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
  const { connection, sockets, fire, open, lose } = setUp();
  open();
  connection.request({ type: "send", key: "k" });
  lose(1006);
  fire();
  sockets[1].say(welcome);
  assert.deepEqual(sockets[1].sent, [{ type: "send", key: "k", ref: "r1" }]);
});

test("the wait between attempts doubles up to ten seconds, until a connection has held for ten", () => {
  const { connection, sockets, fire, time, lose } = setUp();
  connection.connect();
  const waits = [];
  for (let i = 0; i < 8; i++) {
    lose(1006);
    waits.push(fire());
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 10000, 10000]);
  sockets.at(-1).say(welcome);
  time.now += 9_999;
  lose(1006);
  assert.equal(fire(), 10000, "it had not held");
  sockets.at(-1).say(welcome);
  time.now += 10_000;
  lose(1006);
  assert.equal(fire(), 250);
});

test("an attempt that leads nowhere is given up", () => {
  const { connection, sockets, fire, told } = setUp();
  connection.connect();
  assert.equal(fire(), 10_000);
  assert.ok(sockets[0].closed);
  assert.deepEqual(told, ["down"]);
  sockets[0].say(welcome);
  assert.deepEqual(told, ["down"], "what an abandoned socket says is not heard");
});

test("the wait is spread evenly below its ceiling", () => {
  const { connection, sockets, fire } = setUp(() => 0.4);
  connection.connect();
  sockets[0].onclose({ code: 1006 });
  assert.equal(fire(), 100);
});

test("a server that restarts is called again within a quarter of a second, but not in a circle", () => {
  const { time, told, fire, lose, open } = setUp();
  for (let i = 0; i < 3; i++) {
    open();
    time.now += 10_000;
    lose(1012);
    assert.equal(fire(), 250);
  }
  assert.deepEqual(told.slice(-3), ["open", "welcome", "restarting"]);
  lose(1006);
  assert.deepEqual([told.at(-1), fire()], ["restarting", 500], "and stays known as the reason");
  open();
  lose(1012);
  assert.equal(fire(), 1000);
});

test("somebody logged out or no longer a member is not tried again until they act", () => {
  for (const [code, why] of [[4401, "logged_out"], [4403, "suspended"], [4404, "not_found"], [4409, "new_password"], [4410, "no_second_factor"], [4429, "too_many"]]) {
    const { connection, sockets, told, timers, lose } = setUp();
    connection.connect();
    lose(code);
    assert.deepEqual([told, timers.size, sockets.length], [[why], 0, 1]);
    connection.wake();
    sockets[1].say(welcome);
    assert.deepEqual(told, [why, "return"]);
  }
});

test("a session that ends is looked for once more, since it may have been renewed", () => {
  const { sockets, told, timers, lose, open } = setUp();
  open();
  lose(4401);
  assert.deepEqual([sockets.length, told], [2, ["open", "welcome"]]);
  lose(4401);
  assert.deepEqual([sockets.length, told.at(-1), timers.size], [2, "logged_out", 0]);
  const renewed = setUp();
  renewed.open();
  renewed.lose(4401);
  renewed.sockets[1].say(welcome);
  assert.equal(renewed.told.at(-1), "return");
});

test("the session of an old password is gone at the second look, and the password stays the reason", () => {
  const { told, lose, open, connection, sockets } = setUp();
  open();
  lose(4409);
  lose(4401);
  assert.equal(told.at(-1), "new_password");
  connection.wake();
  sockets.at(-1).onclose({ code: 4401 });
  assert.equal(told.at(-1), "new_password");
});

test("a question that was under way when the account was switched off is not given up for it", () => {
  const { connection, sockets, told, lose, open } = setUp();
  open();
  connection.request({ type: "send", key: "k" });
  for (let look = 0; look < 6; look++) {
    lose(4403);
    connection.wake();
  }
  sockets.at(-1).say(welcome);
  assert.equal(told.at(-1), "return");
});

test("nothing is sent to a server that takes us for somebody else", async () => {
  for (const person of ["ben", undefined]) {
    const { connection, sockets, told, lose, open } = setUp();
    open();
    connection.request({ type: "send", key: "k", text: "my salary" });
    lose(4401);
    lose(4401);
    connection.wake();
    sockets.at(-1).say({ ...welcome, person });
    assert.deepEqual([sockets.at(-1).sent, sockets.at(-1).closed, told.at(-1)], [[], true, "other_person"]);
    connection.tell(() => ({ type: "open", conversation: "c" }));
    await assert.rejects(connection.request({ type: "regenerate", key: "l" }), { code: "other_person" });
    assert.deepEqual(sockets.at(-1).sent, []);
    connection.wake();
    sockets.at(-1).say(welcome);
    assert.equal(told.at(-1), "return");
  }
});

test("behind a closed door a new request is refused in words, and one under way when membership ends as well", async () => {
  const { connection, lose, open } = setUp();
  open();
  const sent = connection.request({ type: "send", key: "k" });
  lose(4404);
  await assert.rejects(sent, (error) => error instanceof RequestRefused && error.code === "not_found");
  await assert.rejects(connection.request({ type: "send", key: "l" }), /no longer a member/);
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
  assert.equal(timers.size, 1, "that of the attempt");
});

test("the socket is secure where the page is", () => {
  assert.equal(socketUrl({ protocol: "https:", host: "a.example" }, "/ws/w/x/"), "wss://a.example/ws/w/x/");
  assert.equal(socketUrl({ protocol: "http:", host: "localhost:8000" }, "/ws/w/x/"), "ws://localhost:8000/ws/w/x/");
});

test("when the browser says that the network is gone, silence is believed after two and a half seconds", () => {
  const { connection, sockets, told, fire, open } = setUp();
  open();
  connection.doubt();
  assert.equal(sockets[0].sent.at(-1).type, "ping");
  sockets[0].say({ type: "tokens", message: "a" });
  assert.equal(fire(), 2_500);
  assert.deepEqual([told.at(-1), sockets[0].closed], ["down", true]);
  connection.doubt();
  assert.deepEqual(told.slice(-2), ["down", "down"], "told again: there are other words for it now");
});

test("a server on this machine answers without a network", () => {
  const { connection, sockets, told, fire, open } = setUp();
  open();
  connection.doubt();
  sockets[0].say({ type: "pong", ref: "r1" });
  assert.equal(fire(), 20_000);
  assert.deepEqual(told, ["open", "welcome"]);
});

const refusal = (ref, code, more = {}) => ({ type: "error", ref, error: { code, message: "No", retry_after: null, resets_at: null, ...more } });
const unanswered = { type: "send", key: "k", text: "x" };

test("a request that breaks the connection each time is given up after five tries with growing pauses", async () => {
  for (const [code, error] of [[1009, "too_large"], [1006, "unanswered"], [1011, "unanswered"]]) {
    const { connection, sockets, fire, lose, open } = setUp();
    open();
    const request = connection.request(unanswered);
    const waits = [];
    for (let i = 0; i < 5; i++) {
      assert.equal(sockets.at(-1).sent.length, 1);
      lose(code);
      waits.push(fire());
      sockets.at(-1).say(welcome);
    }
    assert.deepEqual(waits, [250, 500, 1000, 2000, 250]);
    await assert.rejects(request, { code: error });
    assert.deepEqual(sockets.at(-1).sent, []);
  }
});

test("a request that a restarting or leaving server did not answer is never given up", () => {
  const { connection, sockets, fire, lose, open } = setUp();
  open();
  connection.request(unanswered);
  for (let i = 0; i < 12; i++) {
    lose(i % 2 ? 1012 : 1001);
    fire();
    sockets.at(-1).say(welcome);
    assert.equal(sockets.at(-1).sent.length, 1);
  }
});

test("attempts that never come to a welcome do not count against a request", () => {
  const { connection, sockets, fire, lose } = setUp();
  connection.connect();
  connection.request(unanswered);
  for (let i = 0; i < 12; i++) {
    lose(1006);
    fire();
  }
  sockets.at(-1).say(welcome);
  assert.equal(sockets.at(-1).sent.length, 1);
});

test("a refusal that names no request is a failed try of the only one there is", async () => {
  const { connection, sockets, fire, told, open } = setUp();
  open();
  const request = connection.request(unanswered);
  const waits = [];
  for (let i = 0; i < 5; i++) {
    sockets[0].say(refusal(null, "bad_request"));
    if (i < 4) waits.push(fire());
  }
  await assert.rejects(request, { code: "unreadable" });
  assert.deepEqual(waits, [500, 1000, 2000, 4000]);
  assert.equal(sockets[0].sent.length, 5);
  assert.ok(!told.includes("error"));
});

test("a refusal that names no request is nobody's where there are two, or none", () => {
  const { connection, sockets, told, timers, open } = setUp();
  open();
  sockets[0].say(refusal(null, "server_error"));
  connection.request(unanswered);
  connection.request({ ...unanswered, key: "l" });
  sockets[0].say(refusal(null, "bad_request"));
  assert.deepEqual(told.filter((word) => word === "error").length, 2);
  assert.equal(timers.size, 1, "nothing is tried again");
});

test("a stream that failed is nobody's refusal", () => {
  const { connection, sockets, told, timers, open } = setUp();
  open();
  connection.request(unanswered);
  sockets[0].say({ ...refusal(null, "server_error"), message: "a", generation: "g" });
  assert.deepEqual([told.at(-1), timers.size, sockets[0].sent.length], ["error", 1, 1]);
});

test("a request that was answered while its next try was due is not sent again", () => {
  const { connection, sockets, fire, open } = setUp();
  open();
  connection.request(unanswered);
  sockets[0].say(refusal(null, "bad_request"));
  sockets[0].say({ type: "accepted", ref: "r1" });
  fire();
  assert.equal(sockets[0].sent.length, 1);
});

test("a refused subscription is asked for again with growing pauses, as it is by then", () => {
  const { connection, sockets, fire, told, open } = setUp();
  open();
  let after_seq = 0;
  connection.tell(() => ({ type: "subscribe", message: "a", after_seq: after_seq++ }));
  const waits = [];
  for (const code of ["server_error", "unavailable", "rate_limited"]) {
    sockets[0].say(refusal(sockets[0].sent.at(-1).ref, code));
    waits.push(fire());
  }
  assert.deepEqual(waits, [250, 500, 1000]);
  assert.deepEqual(sockets[0].sent.map((frame) => frame.after_seq), [0, 1, 2, 3]);
  assert.equal(new Set(sockets[0].sent.map(({ ref }) => ref)).size, 4);
  assert.ok(!told.includes("error"));
});

test("what never can succeed is told instead, what is not wanted any more is dropped", () => {
  const { connection, sockets, timers, open } = setUp();
  open();
  const never = [];
  connection.tell(() => ({ type: "open", conversation: "c" }), ({ code }) => never.push(code));
  sockets[0].say(refusal("r1", "not_found"));
  assert.deepEqual([never, sockets[0].sent.length, timers.size], [["not_found"], 1, 1]);
  let wanted = { type: "stop", message: "a" };
  connection.tell(() => wanted);
  sockets[0].say(refusal("r2", "server_error"));
  wanted = null;
  [...timers.values()].find(({ delay }) => delay === 250).run();
  assert.equal(sockets[0].sent.length, 2);
});

test("a refusal of an older subscription to the same answer, or from before a reconnect, brings nothing back", () => {
  const { connection, sockets, timers, fire, lose, open } = setUp();
  open();
  const subscribe = () => ({ type: "subscribe", message: "a", after_seq: 0 });
  connection.tell(subscribe);
  connection.tell(subscribe);
  sockets[0].say(refusal("r1", "server_error"));
  assert.equal(timers.size, 1, "the heartbeat alone");
  sockets[0].say(refusal("r2", "server_error"));
  lose(1006);
  while (sockets.length < 2) fire();
  sockets[1].say(welcome);
  for (const { run, delay } of [...timers.values()]) if (delay < 1000) run();
  assert.deepEqual(sockets[1].sent, []);
});

test("the time that a refusal gives is waited for", () => {
  const { connection, sockets, fire, open } = setUp();
  open();
  connection.tell(() => ({ type: "open", conversation: "c" }));
  sockets[0].say(refusal("r1", "rate_limited", { retry_after: 9 }));
  assert.equal(fire(), 9_000);
});
