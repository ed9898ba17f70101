/** Passkeys between the server's JSON, in which bytes are base64url, and the browser, where they are buffers. */

const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (sign) => sign.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const known = (keys = []) => keys.map((key) => ({ ...key, id: bytes(key.id) }));

/** A new passkey as JSON. `alone`: it is to log a person in without password, so it keeps their name and asks who they are. */
export async function makePasskey({ publicKey }, alone) {
  const wish = alone ? "required" : "discouraged";
  const authenticatorSelection = { ...publicKey.authenticatorSelection, residentKey: wish, requireResidentKey: alone };
  if (alone) authenticatorSelection.userVerification = "required";
  const made = await navigator.credentials.create({
    publicKey: {
      ...publicKey,
      authenticatorSelection,
      challenge: bytes(publicKey.challenge),
      user: { ...publicKey.user, id: bytes(publicKey.user.id) },
      excludeCredentials: known(publicKey.excludeCredentials),
    },
  });
  const { clientDataJSON, attestationObject } = made.response;
  const transports = made.response.getTransports?.() ?? [];
  return { ...names(made), response: { clientDataJSON: text(clientDataJSON), attestationObject: text(attestationObject), transports } };
}

/** What a passkey answers to the server's challenge, as JSON. */
export async function usePasskey({ publicKey }) {
  const used = await navigator.credentials.get({
    publicKey: { ...publicKey, challenge: bytes(publicKey.challenge), allowCredentials: known(publicKey.allowCredentials) },
  });
  const { clientDataJSON, authenticatorData, signature, userHandle } = used.response;
  const response = { clientDataJSON: text(clientDataJSON), authenticatorData: text(authenticatorData), signature: text(signature) };
  return { ...names(used), response: { ...response, userHandle: userHandle ? text(userHandle) : null } };
}

function names(key) {
  return { id: key.id, rawId: text(key.rawId), type: key.type, clientExtensionResults: key.getClientExtensionResults() };
}
