const known = new Map();

/**
 * The character of a named reference, as "©" of "&copy;"; the text itself where there is none of that name. In the place of
 * markdown-it's own table of names (scripts/vendor.mjs), which is a third of it: the browser has the same.
 */
export function decodeHTMLStrict(reference) {
  if (!known.has(reference)) known.set(reference, read(reference));
  return known.get(reference);
}

function read(reference) {
  // Behind a letter, for white space at the start would be dropped.
  const text = new DOMParser().parseFromString(`x${reference}`, "text/html").body.textContent.slice(1);
  const unknown = text.endsWith(";") && text !== ";"; // "&notit;" begins with one that was allowed without its semicolon
  return unknown ? reference : text;
}
