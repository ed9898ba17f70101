import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { default: MarkdownIt } = await import("vendor/markdown-it");
const { GrowingMarkdown, blocksOf, lineStart } = await import("models/blocks");

const { dialect } = await import("models/dialect");

const md = new MarkdownIt({ html: false, linkify: true, breaks: true }).use(dialect);
const parse = (text, env) => md.parse(text, env);
const render = (blocks, env) => blocks.map((block) => md.renderer.render(block, md.options, env));

/** What a reader sees after the source arrived in these pieces. */
function shownAfter(pieces) {
  const growing = new GrowingMarkdown(parse);
  const settled = [];
  let source = "";
  let tail = [];
  for (const piece of pieces) {
    source += piece;
    const step = growing.feed(source);
    settled.push(...render(step.settled, step.env));
    tail = render(step.growing, step.env);
  }
  return [...settled, ...tail];
}

function whole(source) {
  const env = {};
  return render(blocksOf(parse(source, env)), env);
}

const SOURCES = {
  "paragraphs and headings": "# One\n\ntext *here*\nmore\n\nTwo\n===\n\nlast",
  "a list after a blank line goes on": "1. one\n\n2. two\n\n   more of two\n\n3. three\n\nafter\n",
  "bullets that change their mark": "- a\n- b\n\n* c\n\n**bold** paragraph\n",
  "a fence with blank lines": "before\n\n```python\na = 1\n\n\nb = 2\n```\nafter\n\nend",
  "a fence that is not closed": "text\n\n```\ncode\n\nmore",
  "a table": "para\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\nafter\n",
  "a quote with lazy lines": "> a\nb\n\n> c\n\nd",
  "rules and setext": "a\n\n---\n\nb\n---\n\nc\n",
  "a definition above its use": "[x]: https://example.org/path\n\nsee [x] here\n\nand [x] there\n",
  "windows line ends": "a\r\n\r\n- b\r\n- c\r\n\r\nd\r\n",
  "formulas": "so \\(a_1\\) is\n\n\\[\na\n=\nb\n\\]\n\n$$x$$\nand $5 or $x$\n\n- \\(c\\)\n",
  "notes above their use": "[^1]: one\n    more\n\n    still\n[^n]: two\n\nsee [^1] and [^n]\n\nend",
  "tasks": "- [ ] a\n- [x] b\n\n  more\n\nend\n",
  "nested lists": "1. a\n   - b\n     - c\n\n2. d\n\n```\nx\n```\n",
};

for (const [name, source] of Object.entries(SOURCES)) {
  test(`growing by single characters ends as the whole: ${name}`, () => {
    assert.deepEqual(shownAfter([...source]), whole(source));
  });

  test(`growing by random pieces ends as the whole: ${name}`, () => {
    for (let seed = 1; seed <= 50; seed++) assert.deepEqual(shownAfter(cut(source, seed)), whole(source));
  });
}

test("a settled block is given out once and the growing part stays small", () => {
  const growing = new GrowingMarkdown(parse);
  let source = "";
  let settled = 0;
  for (let i = 0; i < 50; i++) {
    source += `paragraph ${i}\n\n`;
    const step = growing.feed(source);
    settled += step.settled.length;
    assert.equal(step.growing.length, 1);
  }
  assert.equal(settled, 49);
});

test("lines begin after any line end", () => {
  assert.deepEqual([0, 1, 2, 3].map((line) => lineStart("a\nb\r\nc\rd", line)), [0, 2, 5, 7]);
});

function cut(source, seed) {
  let state = seed;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647;
  const pieces = [];
  for (let at = 0; at < source.length; ) {
    const size = 1 + Math.floor(random() * 12);
    pieces.push(source.slice(at, at + size));
    at += size;
  }
  return pieces;
}
