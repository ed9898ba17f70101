import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { default: MarkdownIt } = await import("vendor/markdown-it");
const { dialect } = await import("models/dialect");

const md = new MarkdownIt({ html: false, linkify: true, breaks: true }).use(dialect);
const inline = (text) => md.render(text).replace(/^<p dir="auto">|<\/p>\n$/g, "");

const EMPHASIS = [
  ["**重要：**先", "<strong>重要：</strong>先"],
  ["**Done!**then", "<strong>Done!</strong>then"],
  ["这是**“引用”**的词", "这是<strong>“引用”</strong>的词"],
  ["*重要：*先", "<em>重要：</em>先"],
  ["**안녕!**하세요", "<strong>안녕!</strong>하세요"],
  ["~~削除。~~次", "<s>削除。</s>次"],
  ["see**(a)**now", "see<strong>(a)</strong>now"],
  ["**🎉**then", "<strong>🎉</strong>then"],
  ["**สำคัญ:**ก่อน", "<strong>สำคัญ:</strong>ก่อน"],
  ["2*(3+4)*5", "2*(3+4)*5"],
  ["2 * 3 * 4", "2 * 3 * 4"],
  ["snake_case_name", "snake_case_name"],
  ["a ** b ** c", "a ** b ** c"],
  ["*(**foo**)*", "<em>(<strong>foo</strong>)</em>"],
  ["**a (*b c*, d. *e*)**", "<strong>a (<em>b c</em>, d. <em>e</em>)</strong>"],
  ["**one:**1 **two:**2", "<strong>one:</strong>1 <strong>two:</strong>2"],
];
for (const [text, shown] of EMPHASIS) test(`emphasis: ${text}`, () => assert.equal(inline(text), shown));

const FORMULAS = [
  ["\\(a_1 * b\\) and \\(c * d\\)", "\\(a_1 * b\\) and \\(c * d\\)"],
  ["so \\[x < y\\] holds", "so \\[x &lt; y\\] holds"],
  ["$$a\\\\b$$", "$$a\\\\b$$"],
  ["\\\\(x\\\\)", "\\(x\\)"],
  ["`\\(x\\)`", "<code>\\(x\\)</code>"],
  ["\\*no emphasis\\*", "*no emphasis*"],
];
for (const [text, shown] of FORMULAS) test(`formula: ${text}`, () => assert.equal(inline(text).replace(/^<p class="formula" dir="auto">/, ""), shown));

test("a formula of several lines is neither heading nor list", () => {
  assert.equal(md.render("\\[\na\n=\n- b\n\\]\n\nnext"), '<p class="formula" dir="auto">\\[\na\n=\n- b\n\\]</p>\n<p dir="auto">next</p>\n');
});

test("a formula that is not closed ends with its paragraph", () => {
  assert.equal(md.render("\\[ a\n= b\n\n# next"), '<p class="formula" dir="auto">\\[ a\n= b</p>\n<h1 dir="auto">next</h1>\n');
});

test("a footnote is no address", () => {
  assert.equal(md.render("See[^note] and [^2].\n\n[^note]: text\n[^2]: more"), '<p dir="auto">See[^note] and [^2].</p>\n<p dir="auto">[^note]: text<br>\n[^2]: more</p>\n');
  assert.equal(md.render("[x]\n\n[x]: http://a.b"), '<p dir="auto"><a href="http://a.b">x</a></p>\n');
});

test("outermost blocks take the direction of their text, and those inside follow", () => {
  assert.equal(md.render("- سلام\n  - ب\n\n> مرحبا"), '<ul dir="auto">\n<li>سلام\n<ul>\n<li>ب</li>\n</ul>\n</li>\n</ul>\n<blockquote dir="auto">\n<p>مرحبا</p>\n</blockquote>\n');
  assert.match(md.render("| a |\n|---|\n| ب |"), /^<table dir="auto">/);
});
