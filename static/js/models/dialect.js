import { footnotes } from "models/footnotes";
import { formulas } from "models/formula_marks";
import { tasks } from "models/tasks";

/**
 * What the answers of models need beyond CommonMark, as a markdown-it plugin: emphasis beside punctuation, formulas,
 * footnotes, items with a box, and blocks that run in the direction of their own text.
 */
export function dialect(md) {
  md.inline.State = looserEmphasis(md);
  md.use(footnotes).use(formulas).use(tasks);
  md.core.ruler.push("direction", direction);
}

const WIDE = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Bopomofo}\u3000-\u303f\uff00-\uffef]/u;

/**
 * CommonMark lets a mark between punctuation and a letter act in one direction only, which suits scripts that put a space
 * after punctuation: "**重要：**先" and "**Done!**then" would stay literal. Without white space on either side a run of two
 * or more, and any run beside a character of a script without spaces, may open and close. A single star stays strict
 * elsewhere: in "2*(3+4)*5" it is a product.
 */
function looserEmphasis({ inline: { State }, utils }) {
  return class extends State {
    scanDelims(start, canSplitWord) {
      const found = super.scanDelims(start, canSplitWord);
      const [before, after] = around(this.src, start, start + found.length);
      const bound = [before, after].every((character) => character !== "" && !utils.isWhiteSpace(character.codePointAt(0)));
      const looser = canSplitWord && bound && (found.length > 1 || WIDE.test(before + after));
      return looser ? { ...found, can_open: true, can_close: true } : found;
    }
  };
}

/** The whole characters before `from` and after `to`; "" at either end. */
function around(text, from, to) {
  const [before = ""] = text.slice(Math.max(0, from - 2), from).match(/[^]$/u) ?? [];
  const [after = ""] = text.slice(to, to + 2).match(/^[^]/u) ?? [];
  return [before, after];
}

/** Each outermost block takes the direction of its first letter; what is inside it follows (a `dir` inside would hide it). */
function direction({ tokens }) {
  for (const token of tokens) if (token.level === 0 && token.nesting === 1) token.attrSet("dir", "auto");
}
