import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Chats, dayLabel } = await import("models/chats");
const { Pages } = await import("models/pages");

const NOW = Date.parse("2026-03-15T12:00:00Z");
const chat = (id, updated, title = id) => ({ id, title, url: `/c/${id}/`, updated });
const ids = (chats) => chats.all.map(({ id }) => id);
const three = () => new Chats([chat("a", "2026-03-15T10:00:00+00:00"), chat("b", "2026-03-14T10:00:00.5+00:00"), chat("c", "2025-12-01T00:00:00+00:00")], () => NOW);

test("days have the server's names", () => {
  const label = (updated) => dayLabel(updated, NOW);
  const days = ["2026-03-16T00:10:00Z", "2026-03-15T00:00:00Z", "2026-03-14T23:59:59Z", "2026-03-08T00:00:00Z", "2026-03-07T23:59:59Z", "2026-02-13T00:00:00Z", "2026-02-12T23:00:00Z", "2025-12-01T00:00:00Z"];
  assert.deepEqual(days.map(label), ["Today", "Today", "Yesterday", "Previous 7 days", "Previous 30 days", "Previous 30 days", "February 2026", "December 2025"]);
});

test("chats stand under headings, the last answered first", () => {
  assert.deepEqual(three().groups.map(({ label, rows }) => [label, rows.map(({ id }) => id)]), [["Today", ["a"]], ["Yesterday", ["b"]], ["December 2025", ["c"]]]);
});

test("one that is answered becomes the first, whatever this computer's clock says", () => {
  const chats = three();
  chats.touch({ id: "c" });
  assert.deepEqual(ids(chats), ["c", "a", "b"]);
  const slow = new Chats(chats.all, () => 0);
  slow.touch({ id: "b" });
  assert.deepEqual([ids(slow), slow.get("b").title], [["b", "c", "a"], "b"]);
});

test("a refresh adds, renames, moves and takes away what is gone, and leaves alone what is further down", () => {
  const chats = three();
  chats.refresh([chat("n", "2026-03-15T11:00:00Z"), chat("b", "2026-03-14T10:00:00.5Z", "renamed")], false);
  assert.deepEqual(ids(chats), ["n", "b", "c"]);
  assert.equal(chats.get("b").title, "renamed");
});

test("a refresh that has all takes away the rest, also when there is none", () => {
  const chats = three();
  chats.refresh([chat("b", "2026-03-14T10:00:00.5Z")], true);
  assert.deepEqual(ids(chats), ["b"]);
  chats.refresh([], true);
  assert.deepEqual(ids(chats), []);
});

test("chats of the same moment stand as the server lists them, and those on its next page stay", () => {
  const at = "2026-03-14T10:00:00.123456+00:00";
  const chats = new Chats(["b", "d", "a", "c"].map((id) => chat(id, at)), () => NOW);
  assert.deepEqual(ids(chats), ["d", "c", "b", "a"]);
  chats.refresh([chat("d", at), chat("b", at)], false);
  assert.deepEqual(ids(chats), ["d", "b", "a"]);
});

test("what is not listed is not renamed into being", () => {
  const chats = three();
  chats.rename("x", "y");
  chats.remove("x");
  assert.deepEqual(ids(chats), ["a", "b", "c"]);
});

function api(replies) {
  const asked = [];
  return { asked, base: "/api/v1/w/acme/", get: async (path) => (asked.push(path), replies.shift() ?? Promise.reject(new Error("down"))) };
}

test("pages are read one after the other until there are no more", async () => {
  const source = api([{ results: [1], next: "https://host/api/v1/w/acme/conversations/?before=x" }, { results: [2], next: null }]);
  const pages = new Pages(source, "conversations/");
  assert.deepEqual([await pages.more(), pages.done, await pages.more(), pages.done, await pages.more()], [[1], false, [2], true, []]);
  assert.deepEqual(source.asked, ["conversations/", "conversations/?before=x"]);
});

test("a page is asked for once at a time, and again after it could not be had", async () => {
  const source = api([{ results: [1], next: null }]);
  const pages = new Pages(source, "conversations/");
  const [first, second] = await Promise.all([pages.more(), pages.more()]);
  assert.deepEqual([first, second], [[1], []]);
  const failing = new Pages(api([]), "conversations/");
  await assert.rejects(failing.more(), /down/);
  await assert.rejects(failing.more(), /down/);
  assert.equal(failing.done, false);
});

test("pages know since when they have looked, and that one is on its way", async () => {
  const answers = [{ results: [], next: "/api/conversations/?q=a&before=2026-03-01T00%3A00%3A00%2B00%3A00&before_id=x" }, { results: [1], next: null }];
  const pages = new Pages({ base: "/api/", get: async () => answers.shift() }, "conversations/?q=a");
  assert.equal(pages.since, null);
  const first = pages.more();
  assert.equal(pages.asking, true);
  assert.deepEqual(await first, []);
  assert.deepEqual([pages.asking, pages.since], [false, "2026-03-01T00:00:00+00:00"]);
  await pages.more();
  assert.deepEqual([pages.done, pages.since], [true, null]);
});
