import { clone } from "models/dom";
import { parts } from "models/formula_marks";

const LIMITS = { trust: false, strict: "ignore", throwOnError: true, maxSize: 40, maxExpand: 500, errorColor: "currentColor" };
let katex = null; // once it is here
let coming = null;
const widths = new ResizeObserver((entries) => entries.forEach(({ target }) => makeReachable(target)));

/**
 * Draws the elements of class "formula" (models/formula_marks). Each holds its source before it is drawn, and for good where
 * it is no formula; `data-source` says of a drawn one what it was drawn from. The library is fetched for the first one.
 */
export class Formulas {
  #kept = new Map(); // source -> drawn elements that left the page and may come back
  #wrong = new Set(); // sources that cannot be drawn: not tried for each word

  /** `nodes` are about to be replaced by ones that may hold the same formulas: drawn ones are used again. */
  keep(nodes) {
    for (const formula of formulasIn(nodes)) {
      const { source } = formula.dataset;
      if (source) this.#kept.set(source, [...(this.#kept.get(source) ?? []), formula]);
    }
  }

  draw(nodes) {
    const waiting = formulasIn(nodes).filter((formula) => this.#waits(formula));
    if (waiting.length && !katex) fetchLibrary().then(() => this.#drawAll(waiting), stayAsWritten);
    else this.#drawAll(waiting);
    this.#kept.clear();
  }

  #waits({ dataset, textContent }) {
    return !dataset.source && !this.#wrong.has(textContent) && parts(textContent) !== null;
  }

  #drawAll(formulas) {
    for (const formula of formulas) if (formula.isConnected && this.#waits(formula)) this.#drawOne(formula);
  }

  #drawOne(formula) {
    const source = formula.textContent;
    const drawn = this.#kept.get(source)?.pop();
    if (drawn) formula.replaceWith(drawn);
    else if (!render(formula, source)) this.#wrong.add(source);
  }
}

/** Whether `old` is drawn from what `next` holds. */
export function isSame(old, next) {
  return Boolean(old.dataset?.source) && old.dataset.source === next.textContent && old.className === next.className;
}

function formulasIn(nodes) {
  return [...nodes].flatMap((node) => [...node.querySelectorAll(".formula")]);
}

/** False when it is no formula: it stays as it was written. Styles are set one by one, as the content security policy wants it. */
function render(formula, source) {
  const { tex, display } = parts(source);
  const place = document.createElement("span");
  try {
    katex.render(tex, place, { ...LIMITS, displayMode: display });
  } catch {
    return false; // a mistake in it, or too deep for the stack
  }
  formula.dataset.source = source;
  formula.replaceChildren(...place.childNodes);
  if (display) widths.observe(formula);
  return true;
}

/** One that is wider than its place is scrolled, with the keyboard too. */
function makeReachable(formula) {
  if (formula.scrollWidth > formula.clientWidth) formula.tabIndex = 0;
  else formula.removeAttribute("tabindex");
}

/** The library could not be fetched: what is written can still be read. */
function stayAsWritten() {}

async function fetchLibrary() {
  coming ??= Promise.all([import("vendor/katex"), fetchStyles()]);
  [katex] = await coming;
}

function fetchStyles() {
  const link = clone("formula-styles");
  return new Promise((resolve) => {
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}

/**
 * The selection with each formula as its source, one that is touched as a whole, in an element that is on the page (so that
 * it has lines) and to be removed. Null where no formula is in it.
 */
export function selected(selection) {
  if (selection.isCollapsed) return null;
  const range = selection.getRangeAt(0).cloneRange();
  const formulaAt = (node) => (node.closest ? node : node.parentElement).closest(".formula[data-source]");
  const [first, last] = [range.startContainer, range.endContainer].map(formulaAt);
  if (first) range.setStartBefore(first);
  if (last) range.setEndAfter(last);
  const copy = Object.assign(document.createElement("div"), { className: "visually-hidden" });
  copy.append(range.cloneContents());
  const formulas = copy.querySelectorAll(".formula[data-source]");
  if (formulas.length === 0) return null;
  for (const formula of formulas) formula.textContent = formula.dataset.source;
  document.body.append(copy);
  return copy;
}
