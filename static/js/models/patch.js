import { isSame } from "models/formulas";

/**
 * Make the node `old` equal to `next` and return the node that is now in its place. What is equal stays untouched, and
 * text that has only grown grows, so that a selection and a sideways scroll inside it survive. So does a formula that is
 * drawn already.
 */
export function patch(old, next) {
  if (old.isEqualNode(next) || isSame(old, next)) return old;
  if (old.nodeType === Node.TEXT_NODE && next.nodeType === Node.TEXT_NODE) return patchText(old, next.data);
  if (!sameShell(old, next)) {
    old.replaceWith(next);
    return next;
  }
  patchChildren(old, [...next.childNodes]);
  return old;
}

function patchText(old, text) {
  if (text.startsWith(old.data)) old.appendData(text.slice(old.data.length));
  else old.data = text;
  return old;
}

function sameShell(old, next) {
  return old.nodeType === Node.ELEMENT_NODE && old.cloneNode(false).isEqualNode(next.cloneNode(false));
}

function patchChildren(parent, nexts) {
  const olds = [...parent.childNodes];
  nexts.forEach((next, index) => (index < olds.length ? patch(olds[index], next) : parent.append(next)));
  for (const old of olds.slice(nexts.length)) old.remove();
}
