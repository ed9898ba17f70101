const DEFINITION = /^\[\^([^\]\s]{1,60})\]:[ \t]*/;
const REFERENCE = /^\[\^([^\]\s]{1,60})\](?!\()/;
const NUMBER = /^\d{1,3}$/;

/**
 * Footnotes, as a markdown-it plugin: "[^1]" leads to the block "[^1]: …", which is shown where it was written, under its own
 * name. While a text grows (`env.growing`) a number is taken for a note whose text is still to come (`env.awaited`).
 */
export function footnotes(md) {
  md.block.ruler.before("reference", "footnote", definition, { alt: ["paragraph", "reference"] });
  md.inline.ruler.before("link", "footnote", reference);
  const escape = md.utils.escapeHtml;
  md.renderer.rules.footnote_open = (tokens, index, options, env, self) => {
    const label = escape(tokens[index].meta);
    return `<div${self.renderAttrs(tokens[index])} class="footnote"><a class="footnote-back" href="#${label}" aria-label="Back to where note ${label} is used">${label}</a><div>`;
  };
  md.renderer.rules.footnote_close = () => "</div></div>\n";
  md.renderer.rules.footnote = (tokens, index) => {
    const label = escape(tokens[index].content);
    return `<sup><a class="footnote-use" href="#${label}" aria-label="Note ${label}">${label}</a></sup>`;
  };
}

/** Follow a link between a note and its use within `element`. True when it was one. */
export function follow(link, element) {
  const kind = [...(link?.classList ?? [])].find((name) => name in OTHER);
  const other = kind && [...element.querySelectorAll(`.${OTHER[kind]}`)].find((there) => there.textContent === link.textContent);
  other?.focus();
  return Boolean(kind);
}

const OTHER = { "footnote-use": "footnote-back", "footnote-back": "footnote-use" };

/** The lines of a note are its own, and what is indented by four after them. */
function definition(state, line, end, silent) {
  const [mark, label] = lineOf(state, line).match(DEFINITION) ?? [];
  const indent = state.sCount[line];
  if (!mark || indent - state.blkIndent >= 4) return false;
  if (silent) return indent < 4 && (state.level === 0 || indent < state.blkIndent);
  if (state.level > 0) return state.md.block.ruler.getRules("").at(-1)(state, line, end); // no address for a link either
  (state.env.footnotes ??= {})[label] = true;
  Object.assign(state.push("footnote_open", "div", 1), { meta: label, map: [line, 0] });
  const opened = state.tokens.at(-1);
  inside(state, line, mark, () => state.md.block.tokenize(state, line, end));
  opened.map[1] = state.line;
  state.push("footnote_close", "div", -1);
  return true;
}

/** `run` with the rest of the line as the first line of a block that is indented by four. */
function inside(state, line, mark, run) {
  const { bMarks, tShift, sCount, parentType, blkIndent, tight } = state;
  const before = [bMarks[line], tShift[line], sCount[line]];
  bMarks[line] += tShift[line] + mark.length;
  tShift[line] = 0;
  sCount[line] = state.blkIndent = 4;
  state.parentType = "footnote";
  run();
  [bMarks[line], tShift[line], sCount[line]] = before;
  Object.assign(state, { parentType, blkIndent, tight });
}

function reference(state, silent) {
  const [mark, label] = state.src.slice(state.pos, state.pos + 64).match(REFERENCE) ?? [];
  if (!mark || !isNote(state.env, label)) return false;
  if (!silent) state.push("footnote", "", 0).content = label;
  state.pos += mark.length;
  return true;
}

function isNote(env, label) {
  if (env.footnotes && Object.hasOwn(env.footnotes, label)) return true;
  const guessed = Boolean(env.growing) && NUMBER.test(label);
  if (guessed) env.awaited = true;
  return guessed;
}

function lineOf(state, line) {
  return state.src.slice(state.bMarks[line] + state.tShift[line], state.eMarks[line]);
}
