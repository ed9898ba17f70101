import { cutOf, goOn } from "models/pieces";

const LINE_END = /\r\n?|\n/g;
const LONG = 2000; // characters of the block that grows from which its beginning is set aside
const WHOLE = { at: 0, opening: "", items: 0, starts: [] };

/** The top-level blocks of a token list: one array of tokens each. Definitions leave no token, so belong to none. */
export function blocksOf(tokens) {
  const blocks = [];
  let depth = 0;
  for (const token of tokens) {
    if (depth === 0) blocks.push([]);
    blocks.at(-1).push(token);
    depth += token.nesting;
  }
  return blocks;
}

/** The index in `source` at which line `line` (from 0) begins. */
export function lineStart(source, line) {
  let end = 0;
  for (const match of source.matchAll(LINE_END)) {
    if (line-- === 0) break;
    end = match.index + match[0].length;
  }
  return end;
}

/**
 * Markdown that grows at its end. `feed(source)` returns the blocks that no later text can change (each once) and the
 * blocks that it still can. A block is settled when another has begun below it and that one's first line is complete:
 * until then "1" may yet become "1. item" and continue the list above. `tidy` may change the end of what still grows.
 *
 * A block that grows long is given out in pieces, so that a word costs no more in it than in a short one: `piece` is the
 * part that was set aside just now (each once), `growing` goes on after it. Pieces are good for showing only: the block is
 * `settled` whole.
 */
export class GrowingMarkdown {
  #from = 0; // where the block that grows begins
  #cut = WHOLE; // where its last piece begins
  #env = { references: {}, footnotes: {}, growing: true };

  /** `parse(text, env)` is markdown-it's: a flat token list. */
  constructor(parse, long = LONG) {
    Object.assign(this, { parse, long });
  }

  feed(source, tidy = (text) => text) {
    const rest = this.#rest(source);
    const env = this.#copyOfEnv();
    const shown = tidy(rest);
    const blocks = this.#parse(shown, env);
    const end = this.#endOf(blocks, shown);
    if (end !== null) return { settled: this.#settle(source, end), piece: [], growing: blocks.slice(-1), env };
    const piece = blocks.length === 1 && this.#isLong(rest, blocks[0]) ? this.#setAside(rest, tidy, env) : [];
    return { settled: [], piece, growing: piece.length ? this.#parse(tidy(this.#rest(source)), env) : blocks, env };
  }

  get #inPieces() {
    return this.#cut.at > this.#from;
  }

  /** A table has several elements a line, so that fewer characters cost as much. */
  #isLong({ length }, [{ type }]) {
    return length > (type === "table_open" ? this.long / 2 : this.long);
  }

  #rest(source) {
    return this.#cut.opening + source.slice(this.#cut.at);
  }

  #parse(text, env) {
    const blocks = blocksOf(this.parse(text, env));
    if (this.#inPieces && blocks.length) blocks[0] = goOn(blocks[0], this.#cut);
    return blocks;
  }

  /** Where in `rest` the last block begins, if the ones before it are settled; else null. */
  #endOf(blocks, rest) {
    if (blocks.length < 2) return null;
    const end = lineStart(rest, blocks.at(-1)[0].map[0]);
    const closed = this.#inPieces && blocks.at(-2)[0].type === "fence"; // nothing goes on after its last line
    return end > 0 && (closed || /[\r\n]/.test(rest.slice(end))) ? end : null;
  }

  /** Parsed once more on its own: a definition cut short in the part that still grows must not count yet. */
  #settle(source, end) {
    const next = this.#cut.at - this.#cut.opening.length + end;
    const settled = blocksOf(this.parse(source.slice(this.#from, next), this.#env));
    this.#from = next;
    this.#cut = { ...WHOLE, at: next };
    return settled;
  }

  /** Cut off the beginning of what grows; [] where there is no good place for it yet. */
  #setAside(rest, tidy, env) {
    const whole = this.#parse(rest, env);
    const next = whole.length === 1 ? cutOf(rest, whole[0]) : null;
    if (next === null || next.at <= this.#cut.opening.length || !this.#isGood(next, rest, tidy, whole[0])) return [];
    const piece = this.#parse(rest.slice(0, next.at), env);
    this.#cut = { ...next, at: this.#cut.at - this.#cut.opening.length + next.at };
    return piece;
  }

  /** What follows is a block of the same kind; and, while that can be waited for, no mark is open across the cut. */
  #isGood({ at, opening }, rest, tidy, [{ type }]) {
    const before = rest.slice(0, at).replace(/[\s>]+$/, "");
    if (rest.length < 2 * this.long && tidy(before) !== before) return false;
    const after = blocksOf(this.parse(opening + rest.slice(at), this.#copyOfEnv()));
    return after.length === 1 && after[0][0].type === type;
  }

  #copyOfEnv() {
    const { references, footnotes } = this.#env;
    return { ...this.#env, references: { ...references }, footnotes: { ...footnotes } };
  }
}
