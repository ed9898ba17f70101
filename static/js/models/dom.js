/** A copy of the one element in the <template> with this id. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** A short word at the foot of the page, with one `action` ({label, run}) at most. */
export function toast(message, action = null) {
  window.dispatchEvent(new CustomEvent("toast:show", { detail: { message, action } }));
}

/** Make `text` what is written in `element`, which holds nothing else. What only grew is added to, so that a selection in it stays. */
export function write(element, text) {
  const node = element.firstChild ?? element.appendChild(new Text());
  if (text.startsWith(node.data)) node.appendData(text.slice(node.data.length));
  else node.data = text;
}

/** As many lines high as its text. Where the browser does not do that by itself it is measured, which costs a layout. */
export function fit(textarea) {
  if (CSS.supports("field-sizing", "content")) return;
  textarea.style.height = "auto";
  textarea.style.height = `${textarea.scrollHeight}px`;
}

/**
 * Put a text on the clipboard; whether that was allowed. `navigator.clipboard` is missing where the page came over plain
 * http from another machine.
 */
export async function copy(text) {
  try {
    if (!navigator.clipboard) return copySelected(text);
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copySelected(text);
  }
}

function copySelected(text) {
  const focused = document.activeElement;
  const box = Object.assign(document.createElement("textarea"), { value: text, readOnly: true, className: "visually-hidden" });
  document.body.append(box);
  box.select();
  const copied = document.execCommand("copy");
  box.remove();
  focused?.focus({ preventScroll: true });
  return copied;
}
