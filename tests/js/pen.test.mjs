import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { Pen } = await import("models/pen");

/** A page whose clock, timers and frames move when told. */
function page() {
  const due = new Map();
  let time = 0;
  let next = 1;
  const add = (run, at) => (due.set(next, { run, at }), next++);
  return {
    performance: { now: () => time },
    setTimeout: (run, delay = 0) => add(run, time + delay),
    clearTimeout: (id) => due.delete(id),
    requestAnimationFrame: (run) => add(run, time + 16),
    cancelAnimationFrame: (id) => due.delete(id),
    spend: (ms) => (time += ms),
    advance(ms) {
      const end = time + ms;
      for (let found; (found = [...due].filter(([, { at }]) => at <= end).sort((a, b) => a[1].at - b[1].at)[0]); ) {
        due.delete(found[0]);
        time = Math.max(time, found[1].at);
        found[1].run();
      }
      time = end;
    },
  };
}

function setUp(cost) {
  const clock = page();
  const drawn = [];
  const pen = new Pen(() => (drawn.push(clock.performance.now()), clock.spend(cost)), clock);
  return { clock, drawn, pen };
}

test("many requests within a frame are drawn once", () => {
  const { clock, drawn, pen } = setUp(0);
  for (let i = 0; i < 5; i++) pen.ask({ urgent: false });
  clock.advance(100);
  assert.deepEqual(drawn, [16]);
});

test("what takes long to draw leaves four times as long to everything else", () => {
  const { clock, drawn, pen } = setUp(100);
  for (let i = 0; i < 100; i++) {
    pen.ask({ urgent: false });
    clock.advance(10);
  }
  assert.ok(drawn.length >= 2 && drawn.length <= 4, `${drawn}`);
  assert.ok(drawn[1] - drawn[0] >= 500, `${drawn}`);
});

test("what is urgent does not wait", () => {
  const { clock, drawn, pen } = setUp(100);
  pen.now();
  pen.ask({ urgent: false });
  pen.ask({ urgent: true });
  clock.advance(16);
  assert.deepEqual(drawn, [0, 116]);
});

test("once stopped nothing is drawn", () => {
  const { clock, drawn, pen } = setUp(10);
  pen.now();
  pen.ask({ urgent: false });
  pen.later();
  pen.stop();
  clock.advance(1000);
  assert.deepEqual(drawn, [0]);
});
