import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { default: MarkdownIt } = await import("vendor/markdown-it");
const { dialect } = await import("models/dialect");
const { OPEN, parts } = await import("models/formula_marks");

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

const formula = (source, display = false) =>
  `<span class="formula${display ? " formula-display" : ""}" dir="ltr">${source}</span>`;
const FORMULAS = [
  ["\\(a_1 * b\\) and \\(c * d\\)", `${formula("\\(a_1 * b\\)")} and ${formula("\\(c * d\\)")}`],
  ["so \\[x < y\\] holds", `so ${formula("\\[x &lt; y\\]", true)} holds`],
  ["$$a\\\\b$$", formula("$$a\\\\b$$", true)],
  ["$x_1$, $y*z*w$.", `${formula("$x_1$")}, ${formula("$y*z*w$")}.`],
  ["**$x$** 公式$y$是", `<strong>${formula("$x$")}</strong> 公式${formula("$y$")}是`],
  ["about $5$ of $2 + 3 = 5$", `about ${formula("$5$")} of ${formula("$2 + 3 = 5$")}`],
  ["$x = 1 \\text{ if you like}$", formula("$x = 1 \\text{ if you like}$")],
  ["$\\$5 + x$", formula("$\\$5 + x$")],
  ["$area = width \\times height$", formula("$area = width \\times height$")],
  ["a formula\n$$x$$\nthat ends a line", `a formula</p>\n<p dir="auto">${formula("$$x$$", true)}</p>\n<p dir="auto">that ends a line`],
  ["\\[x\\].", `${formula("\\[x\\]", true)}.`],
  ["\\\\(x\\\\)", "\\(x\\)"],
  ["`\\(x\\)` `$x$`", "<code>\\(x\\)</code> <code>$x$</code>"],
  ["\\*no emphasis\\*", "*no emphasis*"],
];
for (const [text, shown] of FORMULAS) test(`formula: ${text}`, () => assert.equal(inline(text), shown));

const MONEY = [
  "$5 and $10", "from $5-$10", "$5/$6", "US$5 or A$6", "$20 and you have 30$", "$5 to 10$", "$10 (about 9$)", "$HOME/$USER", "$HOME and $PATH",
  "a $ b $ c", "$5", "$", "$ x$ and $x $", "5$ and 6$", "$5 и 10$", "It costs $5.\nAnd 6$ more.", "$x$y", "\\$x\\$",
];
for (const text of MONEY) test(`no formula: ${text}`, () => assert.doesNotMatch(md.render(text), /class="formula/));

test("a formula of several lines is neither heading nor list", () => {
  assert.equal(md.render("\\[\na\n=\n- b\n\\]\n\nnext"), `<p dir="auto">${formula("\\[\na\n=\n- b\n\\]", true)}</p>\n<p dir="auto">next</p>\n`);
});

test("a formula that is not closed ends with its paragraph", () => {
  assert.equal(md.render("\\[ a\n= b\n\n# next"), `<p dir="auto">${formula("\\[ a\n= b", true)}</p>\n<h1 dir="auto">next</h1>\n`);
});

test("what is between the marks, once they are closed", () => {
  assert.deepEqual(parts("\\(a\\)"), { tex: "a", display: false });
  assert.deepEqual(parts("$$\na\n$$"), { tex: "\na\n", display: true });
  assert.deepEqual(parts("$a$"), { tex: "a", display: false });
  for (const open of ["\\(a", "$$a", "$$", "\\(\\)", `\\[a${OPEN}\\]`]) assert.equal(parts(open), null);
});

test("many marks that nothing closes cost no more than as many letters", () => {
  for (const mark of ["\\(", "\\[ ", "$", "$$ ", "$5 ", "a$", "[^1]", "\\(x\\]"]) {
    const began = performance.now();
    md.render(`x ${mark.repeat(60_000)}`);
    assert.ok(performance.now() - began < 1500, `${mark}: ${performance.now() - began} ms`);
  }
});

const NOTES = "See[^note] and [^2], but not [^3] or [^a-z].\n\n[^note]: text *here*\n    goes on\n\n    and on\n[^2]: more\n\nafter";

test("footnotes lead to their texts and back", () => {
  const shown = md.render(NOTES);
  const use = (label) => `<sup><a class="footnote-use" href="#${label}" aria-label="Note ${label}">${label}</a></sup>`;
  assert.match(shown, new RegExp(`^<p dir="auto">See${use("note")} and ${use("2")}, but not \\[\\^3\\] or \\[\\^a-z\\]\\.</p>`));
  const [, first, second] = shown.split('<div dir="auto" class="footnote">');
  assert.match(first, /^<a class="footnote-back" href="#note" aria-label="[^"]+">note<\/a><div><p>text <em>here<\/em><br>\ngoes on<\/p>\n<p>and on<\/p>\n<\/div><\/div>\n$/);
  assert.match(second, /<p>more<\/p>\n<\/div><\/div>\n<p dir="auto">after<\/p>\n$/);
});

test("a footnote is no address, and one without a text stays as it was written", () => {
  assert.equal(md.render("[x][^1] [^1](http://a.b)\n\n- [^1]: a"), '<p dir="auto">[x][^1] <a href="http://a.b">^1</a></p>\n<ul dir="auto">\n<li>[^1]: a</li>\n</ul>\n');
  assert.equal(md.render("[x]\n\n[x]: http://a.b"), '<p dir="auto"><a href="http://a.b">x</a></p>\n');
});

test("a number is taken for a note while its text may still come", () => {
  const env = { growing: true };
  assert.match(md.render("See[^1] and [^note].", env), /See<sup>.*<\/sup> and \[\^note\]\./);
  assert.ok(env.awaited);
});

test("items with a box", () => {
  const box = (state) => `<span class="task-box">${state}</span>`;
  assert.equal(md.render("- [ ] a\n- [x] **b**\n- [X] c\n- [y] d\n- [ ]\n- x [ ] e"), `<ul dir="auto">\n<li class="task">${box(" ")}a</li>\n<li class="task">${box("x")}<strong>b</strong></li>\n<li class="task">${box("x")}c</li>\n<li>[y] d</li>\n<li>[ ]</li>\n<li>x [ ] e</li>\n</ul>\n`);
  assert.match(md.render("1. [ ] a\n\n2. [x] b"), /<li class="task">\n<p><span class="task-box"> <\/span>a<\/p>/);
  assert.equal(md.render("[x] a"), '<p dir="auto">[x] a</p>\n');
});

test("outermost blocks take the direction of their text, and those inside follow", () => {
  assert.equal(md.render("- سلام\n  - ب\n\n> مرحبا"), '<ul dir="auto">\n<li>سلام\n<ul>\n<li>ب</li>\n</ul>\n</li>\n</ul>\n<blockquote dir="auto">\n<p>مرحبا</p>\n</blockquote>\n');
  assert.match(md.render("| a |\n|---|\n| ب |"), /^<table dir="auto">/);
});
