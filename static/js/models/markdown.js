import DOMPurify from "vendor/dompurify";
import MarkdownIt from "vendor/markdown-it";
import { blocksOf, GrowingMarkdown } from "models/blocks";
import { highlight } from "models/highlight";
import { patch } from "models/patch";
import { tidy } from "models/unfinished";

const OUTWARD = "noopener noreferrer nofollow";
const SAFE = {
  RETURN_DOM_FRAGMENT: true,
  USE_PROFILES: { html: true },
  ALLOW_DATA_ATTR: false,
  ADD_ATTR: ["target", "data-align"],
  FORBID_ATTR: ["style"],
  FORBID_TAGS: ["style", "form", "input", "button"],
};
const parser = new MarkdownIt({ html: false, linkify: true, breaks: true });
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
  #tail = [];

  /** `codeBox` is the <template> put around every code block. */
  constructor(element, codeBox) {
    this.element = element;
    this.codeBox = codeBox;
  }

  /** Show the source so far, with the marks closed that are still open. */
  update(source) {
    this.#show(source, tidy);
  }

  /** Show the whole source. It may still go on later, when an answer is continued. */
  finish(source) {
    const { references } = this.#show(source);
    // A definition may stand below its use, which has been shown without it.
    if (Object.keys(references).length) this.#showAll(source);
    for (const node of this.#tail) this.#highlight(node);
  }

  #show(source, tidy) {
    if (!source.startsWith(this.#source)) this.#reset();
    this.#source = source;
    const { settled, growing, env } = this.#growing.feed(source, tidy);
    if (settled.length) this.#settle(this.#render(settled, env));
    this.#tail = patchAll(this.element, this.#tail, this.#render(growing, env));
    return env;
  }

  #reset() {
    this.#growing = newGrowing();
    this.#tail = [];
    this.element.replaceChildren();
  }

  #settle(nodes) {
    const shown = patchAll(this.element, this.#tail, nodes);
    this.#tail = [];
    for (const node of shown) this.#highlight(node);
  }

  #showAll(source) {
    const env = {};
    const nodes = this.#render(blocksOf(parser.parse(source, env)), env);
    this.element.replaceChildren(...nodes);
    this.#tail = this.#tail.length ? nodes.slice(-this.#tail.length) : [];
    this.#highlight(this.element);
  }

  #render(blocks, env) {
    const fragment = DOMPurify.sanitize(parser.renderer.render(blocks.flat(), parser.options, env), SAFE);
    for (const pre of fragment.querySelectorAll("pre")) this.#boxCode(pre);
    for (const table of fragment.querySelectorAll("table")) boxTable(table);
    return [...fragment.children];
  }

  #boxCode(pre) {
    const box = this.codeBox.content.firstElementChild.cloneNode(true);
    const [, language = "text"] = pre.firstElementChild.className.match(/language-(\S+)/) ?? [];
    box.querySelector("[data-language]").textContent = language;
    pre.replaceWith(box);
    pre.tabIndex = 0;
    box.append(pre);
  }

  #highlight(root) {
    for (const code of root.querySelectorAll('pre > code[class^="language-"]')) highlight(code);
  }
}

function newGrowing() {
  return new GrowingMarkdown((text, env) => parser.parse(text, env));
}

function boxTable(table) {
  const box = document.createElement("div");
  box.className = "table-box";
  box.tabIndex = 0;
  table.replaceWith(box);
  box.append(table);
}

/** Make `olds`, the last children of `parent`, equal to `news` with few changes; returns what is shown now. */
function patchAll(parent, olds, news) {
  const shown = news.map((node, index) => {
    if (index < olds.length) return patch(olds[index], node);
    parent.append(node);
    return node;
  });
  for (const old of olds.slice(news.length)) old.remove();
  return shown;
}
