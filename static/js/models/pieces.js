/**
 * Where a long block that still grows is cut in two, so that only its end is parsed and drawn for each word. The pieces are
 * for showing while it is written; once it has ended it is drawn whole.
 */
const STAND_IN = "\u2060"; // for what was cut off, where Markdown needs something in its place

/**
 * The last place for a cut in `text`, whose one block is `tokens` (markdown-it's): {at, opening, items, starts}. What
 * follows `at` is read as going on in the same containers when `opening` is put before it; its first `items` list items
 * were begun before, and its ordered lists go on at the numbers `starts`. Null where there is none.
 */
export function cutOf(text, tokens) {
  const [{ type }] = tokens;
  if (type === "fence" || type === "code_block") return cutOfCode(text, tokens[0]);
  if (type === "table_open") return cutOfTable(text, tokens);
  const path = openPath(tokens);
  return cutOfCodeInside(text, tokens, path) ?? cutOfParagraph(text, tokens, path) ?? cutOfChildren(text, tokens, path);
}

/** The tokens of a piece that was parsed behind a cut's `opening`, without what is there for Markdown's sake only. */
export function goOn(tokens, { items, starts }) {
  const kept = withoutStandIns(withoutHead(tokens));
  const path = kept.slice(0, kept.findIndex(({ nesting }) => nesting !== 1));
  const begun = path.filter(({ type }) => type === "list_item_open").slice(0, items);
  for (const token of [kept[0], ...begun]) token.attrJoin("class", "goes-on");
  const lists = path.filter(isList);
  starts.forEach((start, index) => lists[index]?.tag === "ol" && lists[index].attrSet("start", start));
  return kept;
}

/** After a blank line, where there is one near the end. */
function cutOfCode(text, token) {
  const { type, content } = token;
  const opening = type === "fence" ? text.slice(0, lineEnd(text, 0)) : "";
  if (isClosed(token)) return null;
  const gap = text.lastIndexOf("\n\n") + 2;
  const at = text.length - gap < content.length / 2 ? gap : text.lastIndexOf("\n") + 1;
  return at > opening.length ? { at, opening, items: 0, starts: [] } : null;
}

/** There is a line below the content of the fence: its end. */
function isClosed({ type, content, map }) {
  return type === "fence" && map[1] - map[0] > content.split("\n").length;
}

function cutOfTable(text, tokens) {
  const rows = tokens.filter(({ type }) => type === "tr_open");
  const opening = text.slice(0, lineEnd(text, lineEnd(text, 0)));
  return rows.length > 2 ? { at: startOf(text, rows.at(-1).map[0]), opening, items: 0, starts: [] } : null;
}

/** In a paragraph that is most of the text: at the start of a line, or after a sentence where it is all one line. */
function cutOfParagraph(text, tokens, path) {
  const from = path.at(-1)?.type === "paragraph_open" ? startOf(text, path.at(-1).map[0]) : text.length;
  if (from > text.length / 2) return null;
  const at = placeInside(text, from);
  return at === null ? null : cut(text, tokens, at, path.slice(0, -1), true);
}

function placeInside(text, from) {
  const line = text.trimEnd().lastIndexOf("\n") + 1;
  if (line > from) return line + text.slice(line).match(/^[\s>]*/)[0].length;
  const sentence = [...text.slice(from).matchAll(/(?:[.!?][ \t]+|[。！？])(?=\S)/g)].at(-1);
  return sentence ? from + sentence.index + sentence[0].length : null;
}

/** Code in an item or a quote is opened there again. */
function cutOfCodeInside(text, tokens, path) {
  const code = tokens.findLast(({ nesting }) => nesting === 0);
  const from = code?.type === "fence" ? startOf(text, code.map[0]) : text.length;
  const at = text.lastIndexOf("\n") + 1;
  if (code?.level !== path.length || at <= lineEnd(text, from) || isClosed(code)) return null;
  const next = cut(text, tokens, at, path, true);
  return { ...next, opening: next.opening + text.slice(from + marksOf(text, from).length, lineEnd(text, from)) };
}

/** Before the last child of the innermost container that has more than one. */
function cutOfChildren(text, tokens, path) {
  const depth = path.findLastIndex((child, index) => index > 0 && !isFirst(tokens, child));
  return depth < 0 ? null : cut(text, tokens, startOf(text, path[depth].map[0]), path.slice(0, depth), false);
}

function isFirst(tokens, child) {
  return tokens[tokens.indexOf(child) - 1].nesting === 1;
}

/** A cut below the containers `above`. `inline`: inside a line, so that the last container's mark must stand before it. */
function cut(text, tokens, at, above, inline) {
  const items = above.filter(({ type }) => type === "list_item_open");
  const lines = [...new Set(items.map(({ map }) => map[0]))].map((line) => marksOf(text, startOf(text, line)));
  const quoted = "> ".repeat(above.filter(({ type }) => type === "blockquote_open").length);
  const mark = inline ? (above.at(-1)?.type === "list_item_open" ? lines.pop() : quoted) : "";
  const opening = lines.map((marks) => `${marks}${STAND_IN}\n${marks.includes(">") ? quoted : ""}\n`).join("") + mark;
  return { at, opening, items: items.length, starts: above.filter(isList).map((list) => numberOfLast(tokens, list)) };
}

/** From the outermost container to the innermost block, each the last in the one before it: where text still arrives. */
function openPath(tokens) {
  const end = tokens.findLastIndex(({ nesting }) => nesting !== -1);
  const opened = [];
  for (const token of tokens.slice(0, end + 1)) {
    if (token.nesting === 1) opened.push(token);
    if (token.nesting === -1) opened.pop();
  }
  return opened;
}

function numberOfLast(tokens, list) {
  const own = tokens.slice(tokens.indexOf(list) + 1);
  const end = own.findIndex(({ level, nesting }) => nesting === -1 && level === list.level);
  const items = own.slice(0, end).filter(({ type, level }) => type === "list_item_open" && level === list.level + 1);
  return Number(list.attrGet("start") ?? 1) + items.length - 1;
}

function withoutHead(tokens) {
  const end = tokens[0].type === "table_open" ? tokens.findIndex(({ type }) => type === "thead_close") : 0;
  return tokens.filter((_, index) => index === 0 || index > end);
}

function withoutStandIns(tokens) {
  const isStandIn = (token) => token?.type === "inline" && token.content.trimEnd() === STAND_IN;
  return tokens.filter((_, index) => ![-1, 0, 1].some((step) => isStandIn(tokens[index + step])));
}

function isList({ type }) {
  return type === "bullet_list_open" || type === "ordered_list_open";
}

/** What stands before the words of a line: indentation, and the marks of quotes and items. */
function marksOf(text, at) {
  return text.slice(at, at + 200).match(/^(?:[ \t]*(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t])))*[ \t]*/)[0];
}

function startOf(text, line) {
  let at = 0;
  while (line-- > 0) at = lineEnd(text, at);
  return at;
}

function lineEnd(text, from) {
  const end = text.indexOf("\n", from);
  return end < 0 ? text.length : end + 1;
}
