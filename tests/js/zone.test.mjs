import assert from "node:assert/strict";
import { test } from "node:test";
import { tellZone, zoneCookie } from "../../static/js/models/zone.js";

test("the cookie holds for every page and for a year", () => {
  assert.equal(zoneCookie("Europe/Berlin", false), "tz=Europe/Berlin; path=/; max-age=31536000; samesite=lax");
  assert.equal(zoneCookie("Etc/GMT+5", true), "tz=Etc/GMT+5; path=/; max-age=31536000; samesite=lax; secure");
});

test("the page tells the zone of its browser", () => {
  globalThis.document = {};
  globalThis.location = { protocol: "https:" };
  tellZone();
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  assert.equal(document.cookie, zoneCookie(zone, true));
});
