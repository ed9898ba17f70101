import assert from "node:assert/strict";
import test from "node:test";
import "./support/modules.mjs";

const { OPEN } = await import("models/formula_marks");
const { tidy } = await import("models/unfinished");

const CASES = [
  ["plain text stays", "Hello there", "Hello there"],
  ["finished marks stay", "a **b** `c` *d* ~~e~~", "a **b** `c` *d* ~~e~~"],
  ["open bold is closed", "a **bo", "a **bo**"],
  ["open italics are closed", "a *bo", "a *bo*"],
  ["open code is closed", "use `pri", "use `pri`"],
  ["code inside bold is closed from the inside out", "1. **`csv.Dict", "1. **`csv.Dict`**"],
  ["a mark with nothing after it is left out", "a **", "a "],
  ["space before the closing mark is dropped", "a **b ", "a **b**"],
  ["marks inside code mean nothing", "`a ** b` c", "`a ** b` c"],
  ["a star before a space is no mark", "2 * 3", "2 * 3"],
  ["a bullet is no mark", "* one\n* two", "* one\n* two"],
  ["a dash below a line does not make it a heading", "Three things:\n-", "Three things:\n"],
  ["half a fence is not shown", "See:\n\n``", "See:\n\n"],
  ["a number with a dot waits for its text", "one\n\n2.", "one\n\n"],
  ["a number alone is shown", "42", "42"],
  ["half a link shows its words", "see [the docs](https://exa", "see the docs"],
  ["inside an open fence nothing is touched", "```python\na ** b\n-", "```python\na ** b\n-"],
  ["inside four backticks three open and close nothing", "````md\n```js\na ** b\n```\n*c", "````md\n```js\na ** b\n```\n*c"],
  ["inside four backticks that hold half a pair", "````md\n```js\na ** b", "````md\n```js\na ** b"],
  ["tildes are not closed by backticks", "~~~\n```\na **b", "~~~\n```\na **b"],
  ["a fence with words after it closes none", "```\n``` x\na **b", "```\n``` x\na **b"],
  ["inside a fence of an item nothing is touched", "10. x\n    ```py\n    a ** b", "10. x\n    ```py\n    a ** b"],
  ["inside a fence of a quote nothing is touched", "> ```py\n> a **b", "> ```py\n> a **b"],
  ["after a closed fence marks are closed again", "```\nx\n```\n\n**a", "```\nx\n```\n\n**a**"],
  ["an open formula is closed, and known as open", "so \\(a_1 * b", `so \\(a_1 * b${OPEN}\\)`],
  ["an open formula of its own lines", "$$\na **b", `$$\na **b${OPEN}$$`],
  ["an open formula inside bold", "**so \\[a*b", `**so \\[a*b${OPEN}\\]**`],
  ["an open dollar with a formula after it", "so $a_1*b", `so $a_1*b${OPEN}$`],
  ["a dollar that may be money is let be", "for $5 or **so", "for $5 or **so**"],
  ["marks inside a formula mean nothing", "\\(a*b\\) *c", "\\(a*b\\) *c*"],
  ["a formula with nothing after it is left out", "so \\(", "so "],
  ["a formula inside code is code", "use `\\(pri", "use `\\(pri`"],
  ["an escaped star is no mark", "2 \\*3", "2 \\*3"],
  ["an open mark of an earlier paragraph is let be", "a ** b **c\n\nd", "a ** b **c\n\nd"],
];

for (const [name, text, shown] of CASES) {
  test(name, () => assert.equal(tidy(text), shown));
}
