/**
 * Where formulas stand in a text, as a markdown-it plugin: `$…$`, `\(…\)` in a line, `$$…$$`, `\[…\]` as lines of their own.
 * Neither their backslashes nor their marks mean anything to Markdown. A token `formula` holds its source with the
 * marks, and is shown as an element of class "formula" (with "formula-display" where it stands alone) that holds just that.
 */
export function formulas(md) {
  md.block.ruler.before("fence", "formula", block, { alt: ["paragraph", "reference", "blockquote", "list"] });
  md.inline.ruler.before("escape", "formula", inline);
  md.renderer.rules.formula = (tokens, index) => element(md, tokens[index]);
}

export const FORMULAS = [["\\[", "\\]"], ["\\(", "\\)"], ["$$", "$$"], ["$", "$"]];
const LONGEST = 5000; // characters: what is longer is no formula, so that a word costs no more in it than elsewhere
const TEX = /[\\^_={}<>+]/;
export const OPEN = "\u2060"; // before a closer that was put there while the formula is still being written

/** The marks around `source`, and what is between them: {tex, display}; null while it is not closed. */
export function parts(source) {
  const [opener, closer] = FORMULAS.find(([mark]) => source.startsWith(mark));
  const closed = source.length > opener.length + closer.length && source.endsWith(closer) && !source.endsWith(OPEN + closer);
  return closed ? { tex: source.slice(opener.length, -closer.length), display: isDisplay(opener) } : null;
}

/** The index of the closer of a formula that `opener` begins at `at`, or -1. `find(mark, from)` looks in `text`. */
export function endOf(text, at, [opener, closer], find = (mark, from) => text.indexOf(mark, from)) {
  const end = closer === "$" ? unescaped(text, at + 1) : find(closer, at + opener.length);
  return end >= 0 && end - at < LONGEST && (closer !== "$" || isFormula(text, at, end)) ? end : -1;
}

/** What would close a formula that begins at `at` and is not closed yet, or null: a lone dollar may be one of a price. */
export function closerOf(text, at, [opener, closer]) {
  const inside = text.slice(at + opener.length);
  if (inside.length > LONGEST) return null;
  if (closer !== "$") return closer;
  return /[\\^_{]/.test(inside) && !inside.includes("\n") && isFormula(`${text.trimEnd()}${OPEN}`, at, text.length + 1) ? closer : null;
}

function isDisplay(opener) {
  return opener === "\\[" || opener === "$$";
}

function unescaped(text, from) {
  for (let at = from; at < text.length && text[at] !== "\n"; at++) {
    if (text[at] === "$") return at;
    if (text[at] === "\\") at++;
  }
  return -1;
}

/** "$5 and $10" are two prices, "$HOME/$USER" two names: a formula touches its dollars, and no word touches them outside. */
function isFormula(text, at, end) {
  const inside = text.slice(at + 1, end);
  const apart = !/[\w$]/.test(text[at - 1] ?? "") && !/\w/.test(text[end + 1] ?? "");
  return apart && inside !== "" && inside.trim() === inside && !isProse(inside);
}

/** "$20 and you have 30$", "$5 to 10$": words side by side, or a number that words follow. */
function isProse(text) {
  const plain = text.replace(/\\[a-zA-Z]+\s*(?:\{[^{}]*\})?/g, "\\");
  const price = /^\d/.test(text) && !TEX.test(text) && /\s/.test(text) && /\p{L}/u.test(text);
  return price || /(?<!\p{L})\p{L}{2,},?\s+\p{L}{2,}/u.test(plain);
}

/** A formula that begins a line goes on to its end, or to a blank line: "=" in it makes no heading, "-" no list. */
function block(state, first, end, silent) {
  const marks = FORMULAS.find(([mark]) => lineOf(state, first).startsWith(mark));
  if (!marks || !isDisplay(marks[0]) || state.sCount[first] - state.blkIndent >= 4) return false;
  const last = lastLine(state, first, end, marks);
  if (last === null) return false;
  if (!silent) push(state, first, last);
  return true;
}

/** The line that ends the formula; null when words follow it on that line, so that it is a part of a paragraph. */
function lastLine(state, first, end, [opener, closer]) {
  for (let line = first; line < end && !state.isEmpty(line); line++) {
    if (state.eMarks[line] - state.bMarks[first] > LONGEST) return null;
    const text = line === first ? lineOf(state, line).slice(opener.length) : lineOf(state, line);
    if (line > first && state.sCount[line] < state.blkIndent) return line - 1;
    if (text.includes(closer)) return /^[.,;:]?\s*$/.test(text.slice(text.indexOf(closer) + closer.length)) ? line : null;
    if (line + 1 === end || state.isEmpty(line + 1)) return line;
  }
  return first;
}

function push(state, first, last) {
  state.line = last + 1;
  const map = [first, last + 1];
  Object.assign(state.push("formula_open", "p", 1), { map });
  const content = state.getLines(first, last + 1, state.blkIndent, false).trim();
  Object.assign(state.push("inline", "", 0), { map, content: "", children: pieces(state, content) });
  state.push("formula_close", "p", -1);
}

/** The formula, and the full stop that may follow it. */
function pieces({ Token }, content) {
  const [, source, stop] = content.match(/^([^]*?)([.,;:]?)$/);
  const closed = parts(source) !== null;
  const formula = Object.assign(new Token("formula", "", 0), { content: closed ? source : content, display: true });
  return closed && stop ? [formula, Object.assign(new Token("text", "", 0), { content: stop })] : [formula];
}

function inline(state, silent) {
  const { src, pos } = state;
  const marks = FORMULAS.find(([mark]) => src.startsWith(mark, pos));
  const end = marks && src[pos - 1] !== "\\" ? endOf(src, pos, marks, (mark, from) => find(state, mark, from)) : -1;
  if (end < 0) return false;
  const next = end + marks[1].length;
  if (!silent) Object.assign(state.push("formula", "", 0), { content: src.slice(pos, next), display: isDisplay(marks[0]) });
  state.pos = next;
  return true;
}

/** Remembered, so that many openers cost no more than one. */
function find(state, mark, from) {
  const found = (state.closers ??= {});
  if (!(mark in found) || (found[mark] >= 0 && found[mark] < from)) found[mark] = state.src.indexOf(mark, from);
  return found[mark];
}

function element({ utils }, { content, display }) {
  const written = content.replace(new RegExp(`${OPEN}.{1,2}$`), "");
  return `<span class="formula${display ? " formula-display" : ""}" dir="ltr">${utils.escapeHtml(written)}</span>`;
}

function lineOf(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}
