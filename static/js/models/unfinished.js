import { closerOf, endOf, FORMULAS, OPEN } from "models/formula_marks";

const FENCE = /^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(`{3,}(?=[^`]*$)|~{3,})(.*)$/gm;
// A last line that is nothing but markup so far: "-" would turn the line above into a heading, "``" is half a fence.
const BARE_MARK = /(^|\n)[ \t]*(?:[-+*=_#>~`|]+|\d{1,9}[.)])[ \t]*$/;
const HALF_LINK = /!?\[([^\]\n]*)\]\([^)\n]*$/;
const MARK = /\\[([]|\\[^]|`+|\*{1,3}|~~|\$\$?/g;

/**
 * Markdown that is still being written, as it will most likely look: marks that were opened and not yet closed are closed,
 * and those that have nothing after them yet are left out. For showing only.
 */
export function tidy(text) {
  if (insideFence(text)) return text;
  const whole = text.replace(BARE_MARK, "$1").replace(HALF_LINK, "$1");
  const start = whole.lastIndexOf("\n\n") + 1;
  return whole.slice(0, start) + closeMarks(whole.slice(start));
}

/** A fence is closed by one of its own kind, at least as long, with nothing after it: four backticks may hold three. */
function insideFence(text) {
  let open = null;
  for (const [, fence, info] of text.matchAll(FENCE)) {
    if (open === null) open = fence;
    else if (fence[0] === open[0] && fence.length >= open.length && !info.trim()) open = null;
  }
  return open !== null;
}

function closeMarks(paragraph) {
  const open = openMarks(paragraph);
  const empty = open.length > 0 && open.at(-1).after === paragraph.length;
  const kept = empty ? paragraph.slice(0, -open.pop().mark.length) : paragraph;
  const closers = open.map(({ closer }) => closer).reverse().join("");
  return closers ? kept.trimEnd() + closers : kept;
}

/** The marks of `paragraph` that nothing closes, outermost first: {mark, closer, after: index behind it}. */
function openMarks(paragraph) {
  const open = [];
  let from = 0; // inside code and formulas no mark means anything
  for (const { 0: mark, index } of paragraph.matchAll(MARK)) {
    if (index < from) continue;
    const code = open.at(-1)?.mark.startsWith("`");
    const formula = code ? null : FORMULAS.find(([opener]) => opener === mark);
    if (open.at(-1)?.mark === mark) open.pop();
    else if (formula) from = passFormula(paragraph, index, formula, open);
    else if (!code && opens(paragraph, mark, index)) open.push({ mark, closer: mark, after: index + mark.length });
  }
  return open;
}

/** Where to go on after the formula that may begin at `index`. */
function passFormula(paragraph, index, [opener, closer], open) {
  const after = index + opener.length;
  const end = endOf(paragraph, index, [opener, closer]);
  if (end >= 0) return end + closer.length;
  const missing = closerOf(paragraph, index, [opener, closer]);
  if (missing) open.push({ mark: opener, closer: OPEN + missing, after });
  return missing ? paragraph.length : after;
}

/** Code may begin anywhere; emphasis not before a space, which makes a star a bullet or a product. */
function opens(paragraph, mark, index) {
  if (mark.startsWith("\\")) return false;
  const next = paragraph[index + mark.length];
  return mark.startsWith("`") || next === undefined || !/\s/.test(next);
}
