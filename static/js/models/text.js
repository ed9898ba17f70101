const LONE_SURROGATE = /\p{Surrogate}/gu; // half a character: no encoding has it
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/g; // all that no keyboard writes; not tab and line ends

/**
 * A typed or pasted text as it can be sent and stored. Six bytes of JSON for each control character would also make a
 * message that is short enough too large for the socket.
 */
export function sendable(text) {
  return text.replace(CONTROLS, "").replace(LONE_SURROGATE, "\ufffd");
}
