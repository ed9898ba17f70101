import DOMPurify from "vendor/dompurify";
import MarkdownIt from "vendor/markdown-it";
import { blocksOf, GrowingMarkdown } from "models/blocks";
import { dialect } from "models/dialect";
import "models/entities"; // which vendor/markdown-it imports: named here to be loaded with the rest
import { follow } from "models/footnotes";
import { Formulas } from "models/formulas";
import { highlight, highlightLines } from "models/highlight";
import { patch } from "models/patch";
import { drawBoxes } from "models/tasks";
import { tidy } from "models/unfinished";

const OUTWARD = "noopener noreferrer nofollow";
const SAFE = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  ALLOW_DATA_ATTR: false,
  ADD_ATTR: ["target", "data-align", "dir"],
  FORBID_ATTR: ["style"],
  FORBID_TAGS: ["style", "form", "input", "button"],
};
const parser = new MarkdownIt({ html: false, linkify: true, breaks: true }).use(dialect);
const { rules } = parser.renderer;

// Style attributes are barred by the content security policy, so a column's alignment becomes a data attribute.
function renderCell(tokens, index, options, env, self) {
  const style = tokens[index].attrGet("style");
  tokens[index].attrs = style ? [["data-align", style.replace("text-align:", "")]] : null;
  return self.renderToken(tokens, index, options);
}
rules.th_open = rules.td_open = renderCell;

rules.link_open = (tokens, index, options, env, self) => {
  tokens[index].attrSet("target", "_blank");
  tokens[index].attrSet("rel", OUTWARD);
  return self.renderToken(tokens, index, options);
};

// A picture is shown as a link: loading it would tell its server who reads what, at the wish of whoever wrote the text.
rules.image = (tokens, index) => {
  const { escapeHtml } = parser.utils;
  const label = tokens[index].content || "image";
  return `<a href="${escapeHtml(tokens[index].attrGet("src"))}" target="_blank" rel="${OUTWARD}">${escapeHtml(label)}</a>`;
};

/** Markdown in one element, kept up to date with a source that grows. Blocks that are finished are never touched again. */
export class MarkdownView {
  #source = "";
  #growing = newGrowing();
  #pieces = []; // of the block that grows: not touched again before it has ended
  #columns = null; // widths in px, where that is a table
  #tail = []; // drawn again for each word
  #provisional = false; // something is shown in pieces, or was
  #formulas = new Formulas();
  #whole = false; // all is shown as the whole source gives it, and would begin anew if it went on

  /** `codeBox` is the <template> put around every code block. */
  constructor(element, codeBox) {
    this.element = element;
    this.codeBox = codeBox;
    element.addEventListener("click", (event) => follow(event.target.closest("a"), element) && event.preventDefault());
  }

  /** Show the source so far, with the marks closed that are still open. */
  update(source) {
    this.#show(source, tidy);
  }

  /** Show the whole source. It may still go on later, when an answer is continued. */
  finish(source) {
    if (this.#whole && source === this.#source) return;
    const { references, footnotes, awaited } = this.#show(source);
    // A definition may stand below its use, which has been shown without it; and a long block was shown in pieces.
    const apart = awaited || Object.keys({ ...references, ...footnotes }).length > 0;
    if (this.#provisional || apart) this.#showAll(source);
    this.#colour(this.#tail, highlight);
  }

  #show(source, tidy) {
    if (this.#whole || !source.startsWith(this.#source)) this.#reset();
    this.#source = source;
    const { settled, piece, growing, env } = this.#growing.feed(source, tidy);
    if (settled.length) this.#settle(this.#render(settled, env));
    if (piece.length) this.#setAside(this.#render(piece, env));
    if (tidy || this.#pieces.length) this.#draw(this.#render(growing, env));
    else this.#tail = this.#put(() => this.element, this.#tail, this.#render(growing, env));
    return env;
  }

  #reset() {
    this.#growing = newGrowing();
    this.#pieces = this.#tail = [];
    this.#provisional = this.#whole = false;
    this.element.replaceChildren();
  }

  #draw(nodes) {
    this.#colour(nodes, highlightLines);
    const news = nodes.map(asPiece);
    if (this.#pieces.length) for (const node of news) this.#join(node);
    this.#tail = this.#put((node) => this.#parentOf(node), this.#tail, news);
  }

  /** A piece goes on in the direction of the first one, and a table in its columns. */
  #join(node) {
    if (!node.matches(".goes-on, :has(> .goes-on)")) return;
    node.dir = getComputedStyle(this.#pieces[0]).direction;
    const cells = node.querySelector(":scope > table.goes-on tr")?.cells ?? [];
    [...cells].forEach((cell, index) => (cell.style.inlineSize = `${this.#columns[index]}px`));
  }

  /** Code that goes on stays in its box. */
  #parentOf(node) {
    return node.matches(".code-piece") ? this.#pieces[0].querySelector("code") : this.element;
  }

  #setAside(nodes) {
    this.#draw(nodes);
    this.#pieces = [...this.#pieces, ...this.#tail];
    this.#tail = [];
    this.#provisional = true;
    if (this.#pieces.length === 1) this.#columns = widths(this.#pieces[0].querySelector(":scope > table"));
  }

  #settle(nodes) {
    const drawn = this.#pieces.length ? [...this.#pieces, ...this.#tail.splice(0)] : [];
    this.#formulas.keep(drawn);
    for (const node of drawn) node.remove();
    const olds = this.#tail.splice(0, nodes.length); // what follows them goes on where it is
    this.#colour(this.#put(() => this.element, olds, nodes), highlight);
    this.#pieces = [];
  }

  #showAll(source) {
    const env = {};
    const nodes = this.#render(blocksOf(parser.parse(source, env)), env);
    this.#formulas.keep(this.element.children);
    this.element.replaceChildren(...nodes);
    this.#formulas.draw(nodes);
    this.#colour(nodes, highlight);
    this.#pieces = this.#tail = [];
    this.#whole = true;
  }

  /** Make `olds` into `news`, formulas drawn. Returns what is shown now. */
  #put(parentOf, olds, news) {
    const shown = patchAll(parentOf, olds, news);
    this.#formulas.draw(shown);
    return shown;
  }

  #render(blocks, env) {
    const fragment = DOMPurify.sanitize(parser.renderer.render(blocks.flat(), parser.options, env), SAFE);
    for (const pre of fragment.querySelectorAll("pre")) this.#boxCode(pre);
    for (const table of fragment.querySelectorAll("table")) boxTable(table);
    drawBoxes(fragment);
    return [...fragment.children];
  }

  #boxCode(pre) {
    const box = this.codeBox.content.firstElementChild.cloneNode(true);
    const [, language = "text"] = pre.firstElementChild.className.match(/language-(\S+)/) ?? [];
    box.querySelector("[data-language]").textContent = language;
    box.dir = "ltr";
    pre.replaceWith(box);
    pre.tabIndex = 0;
    box.append(pre);
  }

  #colour(nodes, colour) {
    for (const node of nodes) for (const code of node.querySelectorAll('pre > code[class*="language-"]')) colour(code);
  }
}

function newGrowing() {
  return new GrowingMarkdown((text, env) => parser.parse(text, env));
}

function boxTable(table) {
  const box = document.createElement("div");
  box.className = "table-box";
  box.tabIndex = 0;
  box.dir = table.dir;
  table.removeAttribute("dir");
  table.replaceWith(box);
  box.append(table);
}

/** Code is drawn as one of the pieces in its box, so that others can follow. */
function asPiece(node) {
  const code = node.matches(".code") ? node.querySelector("code") : null;
  if (!code) return node;
  const piece = document.createElement("span");
  piece.className = "code-piece";
  piece.append(...code.childNodes);
  code.append(piece);
  return code.matches(".goes-on") ? piece : node;
}

function widths(table) {
  return table && [...table.rows[0].cells].map((cell) => cell.getBoundingClientRect().width);
}

/** Make `olds` equal to `news` with few changes; what is new is put at the end of its parent. Returns what is shown now. */
function patchAll(parentOf, olds, news) {
  const shown = news.map((node, index) => {
    if (index < olds.length) return patch(olds[index], node);
    parentOf(node).append(node);
    return node;
  });
  for (const old of olds.slice(news.length)) old.remove();
  return shown;
}
