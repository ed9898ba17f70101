const LINE_END = /\r\n?|\n/g;

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
 */
export class GrowingMarkdown {
  #from = 0;
  #env = { references: {} };

  /** `parse(text, env)` is markdown-it's: a flat token list. */
  constructor(parse) {
    this.parse = parse;
  }

  feed(source, tidy = (text) => text) {
    const rest = tidy(source.slice(this.#from));
    const env = this.#copyOfEnv();
    const blocks = blocksOf(this.parse(rest, env));
    const cut = blocks.length > 1 ? lineStart(rest, blocks.at(-1)[0].map[0]) : 0;
    if (cut === 0 || !/[\r\n]/.test(rest.slice(cut))) return { settled: [], growing: blocks, env };
    // Parsed once more on its own: a definition cut short in the part that still grows must not count yet.
    const settled = blocksOf(this.parse(rest.slice(0, cut), this.#env));
    this.#from += cut;
    return { settled, growing: [blocks.at(-1)], env };
  }

  #copyOfEnv() {
    return { references: { ...this.#env.references } };
  }
}
