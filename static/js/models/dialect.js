/**
 * What the answers of models need beyond CommonMark, as a markdown-it plugin: emphasis beside punctuation, formulas and
 * footnotes that stay as they were written, and blocks that run in the direction of their own text.
 */
export function dialect(md) {
  md.inline.State = looserEmphasis(md);
  md.block.ruler.before("reference", "footnote", footnote);
  md.block.ruler.before("fence", "formula", blockFormula, { alt: ["paragraph", "reference", "blockquote", "list"] });
  md.inline.ruler.before("escape", "formula", inlineFormula);
  md.core.ruler.push("direction", direction);
  md.renderer.rules.formula = (tokens, index) => md.utils.escapeHtml(tokens[index].content);
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

/** "[^note]: …" is no address for the link [^note]: the lines are shown as they are. */
function footnote(state, line, end, silent) {
  if (!/^\[\^[^\]\s]+\]:/.test(lineOf(state, line)) || state.sCount[line] - state.blkIndent >= 4) return false;
  return state.md.block.ruler.getRules("").at(-1)(state, line, end, silent);
}

const FORMULAS = [["\\[", "\\]"], ["\\(", "\\)"], ["$$", "$$"]];

/** A formula that begins a line goes on to its end, or to a blank line: "=" in it makes no heading, "-" no list. */
function blockFormula(state, first, end, silent) {
  const [opener, closer] = FORMULAS.find(([mark]) => lineOf(state, first).startsWith(mark)) ?? [];
  if (!opener || opener === "\\(" || state.sCount[first] - state.blkIndent >= 4) return false;
  const last = lastLine(state, first, end, opener, closer);
  if (last === null) return false;
  if (!silent) pushFormula(state, first, last);
  return true;
}

/** The line that ends the formula; null when words follow it on that line, so that it is a part of a paragraph. */
function lastLine(state, first, end, opener, closer) {
  for (let line = first; line < end && !state.isEmpty(line); line++) {
    const text = line === first ? lineOf(state, line).slice(opener.length) : lineOf(state, line);
    if (line > first && state.sCount[line] < state.blkIndent) return line - 1;
    if (text.includes(closer)) return text.trimEnd().endsWith(closer) ? line : null;
    if (line + 1 === end || state.isEmpty(line + 1)) return line;
  }
  return first;
}

function pushFormula(state, first, last) {
  state.line = last + 1;
  const map = [first, last + 1];
  Object.assign(state.push("formula_open", "p", 1), { map, attrs: [["class", "formula"]] });
  const formula = new state.Token("formula", "", 0);
  formula.content = state.getLines(first, last + 1, state.blkIndent, false).trim();
  Object.assign(state.push("inline", "", 0), { map, content: "", children: [formula] });
  state.push("formula_close", "p", -1);
}

/** "\(a_1 \cdot b\)" inside a paragraph: neither its backslashes nor its marks mean anything to Markdown. */
function inlineFormula(state, silent) {
  const { src, pos } = state;
  const [opener, closer] = FORMULAS.find(([mark]) => src.startsWith(mark, pos)) ?? [];
  const end = opener ? src.indexOf(closer, pos + opener.length) : -1;
  if (end < 0 || src[pos - 1] === "\\") return false;
  if (!silent) state.push("formula", "", 0).content = src.slice(pos, end + closer.length);
  state.pos = end + closer.length;
  return true;
}

/** Each outermost block takes the direction of its first letter; what is inside it follows (a `dir` inside would hide it). */
function direction({ tokens }) {
  for (const token of tokens) if (token.level === 0 && token.nesting === 1) token.attrSet("dir", "auto");
}

function lineOf(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}
