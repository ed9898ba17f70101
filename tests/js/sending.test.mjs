import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { newId } = await import("models/ids");
const { composes, sends } = await import("models/keys");
const { sendable } = await import("models/text");
const { mayPass, pause } = await import("models/trying");

const SOCKET_LIMIT = 4 * 32_000 + 10_000; // bytes, chatapp/ops/servers.py

test("an id is a random UUID, made without what only secure pages have", () => {
  const bytes = (value) => ({ getRandomValues: (array) => array.fill(value) });
  assert.equal(newId(bytes(0xff)), "ffffffff-ffff-4fff-bfff-ffffffffffff");
  assert.equal(newId(bytes(0x00)), "00000000-0000-4000-8000-000000000000");
  assert.match(newId(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(Array.from({ length: 1000 }, () => newId())).size, 1000);
});

test("half a character becomes the sign for one, whole ones stay", () => {
  assert.equal(sendable("a \ud83d b"), "a \ufffd b");
  assert.equal(sendable("\udc00\ud83d"), "\ufffd\ufffd");
  assert.equal(sendable("🦊 é 中 👩‍👩‍👧 \u200f"), "🦊 é 中 👩‍👩‍👧 \u200f");
  assert.ok(sendable("\ud83d".repeat(3)).isWellFormed());
});

test("control characters go, tabs and line ends stay", () => {
  assert.equal(sendable("a\u0000\u0001\b\u000b\f\u001b\u007fb"), "ab");
  assert.equal(sendable("\ta\r\nb\n"), "\ta\r\nb\n");
});

test("a text of the longest length fits the socket's frame, whatever it is made of", () => {
  const everything = Array.from({ length: 0x10000 }, (_, code) => String.fromCharCode(code)).concat("🦊");
  for (const character of everything) {
    const text = sendable(character);
    const bytes = Buffer.byteLength(JSON.stringify(text)) - 2;
    assert.ok(bytes * 32_000 + 1000 < SOCKET_LIMIT, `${JSON.stringify(character)} takes ${bytes} bytes`);
  }
});

const enter = { key: "Enter", isComposing: false, keyCode: 13, shiftKey: false, ctrlKey: false, metaKey: false };

test("Enter sends, unless an input method still has it or a line is broken", () => {
  assert.ok(sends(enter, false));
  assert.ok(!sends({ ...enter, isComposing: true }, false));
  assert.ok(!sends({ ...enter, keyCode: 229 }, false), "Safari, as a composition ends");
  assert.ok(!sends({ ...enter, shiftKey: true }, false));
  assert.ok(!sends({ ...enter, key: "a" }, false));
  assert.ok(composes({ isComposing: false, keyCode: 229 }));
  assert.ok(!composes({ isComposing: false, keyCode: 27 }));
});

test("on a touch keyboard Enter breaks the line, and sends with Ctrl or ⌘", () => {
  assert.ok(!sends(enter, true));
  assert.ok(sends({ ...enter, ctrlKey: true }, true));
  assert.ok(sends({ ...enter, metaKey: true }, true));
});

test("pauses double up to ten seconds and are spread below that", () => {
  assert.deepEqual([0, 1, 2, 5, 6, 60].map((failed) => pause(failed, () => 1)), [250, 500, 1000, 8000, 10000, 10000]);
  assert.equal(pause(2, () => 0.25), 250);
});

test("only what time can mend is tried again", () => {
  assert.ok(["server_error", "unavailable", "rate_limited", "offline"].every((code) => mayPass({ code })));
  assert.ok(["not_found", "bad_request", "forbidden", "not_authenticated"].every((code) => !mayPass({ code })));
});
