/** A copy of the one element in the <template> with this id. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** A short word at the foot of the page, with one `action` ({label, run}) at most. */
export function toast(message, action = null) {
  window.dispatchEvent(new CustomEvent("toast:show", { detail: { message, action } }));
}

/** As many lines high as its text; where the browser does not do that by itself. */
export function fit(textarea) {
  textarea.style.height = "auto";
  textarea.style.height = `${textarea.scrollHeight}px`;
}
