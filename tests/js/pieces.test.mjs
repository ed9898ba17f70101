import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { default: MarkdownIt } = await import("vendor/markdown-it");
const { GrowingMarkdown, blocksOf } = await import("models/blocks");
const { dialect } = await import("models/dialect");
const { tidy } = await import("models/unfinished");

const md = new MarkdownIt({ html: false, linkify: true, breaks: true }).use(dialect);
const render = (blocks, env) => blocks.map((block) => md.renderer.render(block, md.options, env));

const WORDS = "Lorem **ipsum dolor** sit `amet` consectetur elit. ";
const SIZE = 60_000;
const STEP = 25; // characters at a time
const MOST = 12_000; // characters parsed for one step, however long the block is
const repeat = (unit) => Array.from({ length: SIZE / 40 }, (_, index) => unit(index)).join("").slice(0, SIZE);

const LONG_BLOCKS = {
  "a paragraph of one line": repeat(() => WORDS),
  "a paragraph of many lines": repeat(() => `${WORDS}\n`),
  "a paragraph without spaces": repeat(() => "漢字**重要：**先。"),
  "a list": repeat((index) => `- ${index} ${WORDS}\n`),
  "a loose list": repeat(() => `- ${WORDS}\n\n`),
  "a numbered list": repeat((index) => `${index + 1}. ${WORDS}\n`),
  "a list below an item": "1. first\n" + repeat(() => `   - ${WORDS}\n`),
  "a list two items deep": "1. a\n   - b\n" + repeat(() => `     1. ${WORDS}\n`),
  "an item of one paragraph": "- first\n\n  " + repeat(() => WORDS),
  "an item of many paragraphs": "- first\n\n" + repeat(() => `  ${WORDS}\n\n`),
  "a table": "| a | b |\n|---|--:|\n" + repeat((index) => `| **row** | ${index} |\n`),
  "a quote": repeat(() => `> ${WORDS}\n`),
  "a list in a quote": repeat(() => `> - ${WORDS}\n`),
  "code": "```python\n" + repeat((index) => `x = ${index}  # **no mark**\n`),
  "a paragraph of formulas": repeat(() => `${WORDS}\\(a_1 * b\\) and $c^2$. `),
  "a list of formulas": repeat(() => `- ${WORDS} \\(a_1 * b\\)\n`),
  "a list of tasks": repeat(() => `- [x] ${WORDS}\n`),
  "code in an item": "- first\n  ```python\n" + repeat((index) => `  x = ${index}\n`),
};

for (const [name, source] of Object.entries(LONG_BLOCKS)) {
  test(`a word costs no more in a long block: ${name}`, (t) => {
    let parsed = 0;
    let most = 0;
    const growing = new GrowingMarkdown((text, env) => ((parsed += text.length), md.parse(text, env)));
    for (let end = STEP; end <= source.length; end += STEP) {
      parsed = 0;
      growing.feed(source.slice(0, end), tidy);
      most = Math.max(most, parsed);
    }
    t.diagnostic(`${most} characters`);
    assert.ok(most < MOST, `${most} characters parsed for ${STEP}`);
  });
}

/** Grow `source` in random pieces, cut when longer than `long`. Returns all that was settled, then what still grows. */
function shownAfter(source, seed, long) {
  const growing = new GrowingMarkdown((text, env) => md.parse(text, env), long);
  const random = generator(seed);
  const settled = [];
  let step = null;
  let cuts = 0;
  for (let end = 0; end < source.length; ) {
    end += 1 + Math.floor(random() * 12);
    step = growing.feed(source.slice(0, end), seed % 2 ? tidy : undefined);
    settled.push(...render(step.settled, step.env));
    cuts += step.piece.length;
  }
  return { shown: [...settled, ...render(step.growing, step.env)], cuts };
}

function whole(source) {
  const env = {};
  return render(blocksOf(md.parse(source, env)), env);
}

const SOURCES = [
  "# One\n\ntext *here*\nmore\n\nTwo\n===\n\nlast",
  "1. one\n\n2. two\n\n   more of two\n\n3. three\n\nafter",
  "- a\n- b\n\n* c\n\n**bold** paragraph",
  "before\n\n```python\na = 1\n\n\nb = 2\n```\nafter\n\nend",
  "para\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n| 3 | 4 |\n| 5 | 6 |\n\nafter",
  "> a b c\n> d e f\nlazy words\n\n> c\n\nd",
  "1. a\n   - b\n     - c\n\n2. d\n\n```\nx\n```",
  "one. two. three. four. five six\nseven eight\nnine ten\n\nend",
  "- a b c. d e f\n  g h\n\n  i j. k l\n- m\n  > q r s\n  > t u. v w\n  > - x\n\ny",
  "1. a\n1. b\n1. c\n   1. d\n   1. e\n\nf",
  "- a\n  ```js\n  x\n\n  y\n  ```\n- b\n\nc",
  "````md\n```js\nx\n```\n````\n\nz",
  "a **b\nc\nd** e\n\nf",
  "x\ny\n| a |\n|--|\n| 1 |\n| 2 |\n\nz",
  "- a\n\n\n  b\n\n      code\n\n      more\n\nx",
  "a\r\nb\r\nc\r\n\r\n- d\r\n- e\r\n- f\r\n\r\ng",
  "\\[\na\n=\n- b\n\\]\n\nc \\(d\ne\\) f\nh i\nj k\n\ng",
];

for (const source of SOURCES) {
  test(`what was cut while it grew ends as the whole: ${JSON.stringify(source.slice(0, 30))}`, () => {
    const ended = `${source}\n\nfinal words\n\nx\n`;
    let cuts = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const grown = shownAfter(ended, seed, 6 + (seed % 25));
      assert.deepEqual(grown.shown, whole(ended), `seed ${seed}`);
      cuts += grown.cuts;
    }
    assert.ok(cuts > 0, "it was never cut");
  });
}

test("a numbered list goes on at its number, and an item that goes on has no mark", () => {
  const growing = new GrowingMarkdown((text, env) => md.parse(text, env), 40);
  const source = "1. one\n1. two\n   1. inner one\n   1. inner two\n   1. inner three\n";
  let last = "";
  for (let end = 1; end <= source.length; end++) {
    const { growing: blocks, env } = growing.feed(source.slice(0, end));
    last = render(blocks, env).join("");
  }
  assert.match(last, /^<ol dir="auto" class="goes-on" start="2">\s*<li class="goes-on">\s*<ol start="2">\s*<li>inner two<\/li>/);
});

function generator(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}
