/** An input method still has the key: it only picks a word. Safari has ended the composition by then, and says so with 229. */
export function composes({ isComposing, keyCode }) {
  return isComposing || keyCode === 229;
}

/** Enter that sends. A touch keyboard has no Shift+Enter, so there it breaks the line; with Ctrl or ⌘ it sends anywhere. */
export function sends(event, touch) {
  const { key, shiftKey, ctrlKey, metaKey } = event;
  return key === "Enter" && !composes(event) && !shiftKey && (!touch || ctrlKey || metaKey);
}
