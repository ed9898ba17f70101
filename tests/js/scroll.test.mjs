import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Follower } = await import("models/scroll");

const viewport = 500;

test("text that grows below the reader at the end does not stop the following", () => {
  const follower = new Follower();
  follower.scrolled({ top: 500, height: 1000, viewport });
  follower.scrolled({ top: 500, height: 1200, viewport });
  assert.equal(follower.following, true);
});

test("scrolling up by a pixel or two yields at once", () => {
  const follower = new Follower();
  follower.scrolled({ top: 500, height: 1000, viewport });
  follower.scrolled({ top: 497, height: 1000, viewport });
  assert.equal(follower.following, false);
});

test("scrolling down inside the text does not take the reader along", () => {
  const follower = new Follower();
  follower.scrolled({ top: 500, height: 1000, viewport });
  follower.scrolled({ top: 100, height: 1000, viewport });
  follower.scrolled({ top: 300, height: 1000, viewport });
  assert.equal(follower.following, false);
});

test("scrolling down to near the end follows again", () => {
  const follower = new Follower();
  follower.scrolled({ top: 500, height: 1000, viewport });
  follower.scrolled({ top: 100, height: 1000, viewport });
  follower.scrolled({ top: 480, height: 1000, viewport });
  assert.equal(follower.following, true);
});

test("a shorter page is not the reader going up", () => {
  const follower = new Follower();
  follower.scrolled({ top: 500, height: 1000, viewport });
  follower.scrolled({ top: 300, height: 800, viewport });
  assert.equal(follower.following, true);
});

test("a hand that goes up wins before anything has moved", () => {
  const follower = new Follower();
  follower.yield();
  assert.equal(follower.following, false);
  follower.follow();
  assert.equal(follower.following, true);
});
