/** A copy of the one element in the <template> with this id. */
export function clone(id) {
  return document.getElementById(id).content.firstElementChild.cloneNode(true);
}

/** A short word at the foot of the page, with one `action` ({label, run}) at most. */
export function toast(message, action = null) {
  window.dispatchEvent(new CustomEvent("toast:show", { detail: { message, action } }));
}
