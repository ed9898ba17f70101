import { sendable } from "models/text";

/** A REST request that was refused, or never arrived (`code` "offline"). `fields` holds messages by field. */
export class ApiError extends Error {
  constructor({ code, message, retry_after = null, fields = {} }) {
    super(message);
    Object.assign(this, { code, retry_after, fields });
  }
}

const OFFLINE = { code: "offline", message: "The server cannot be reached. Check your connection." };

/**
 * JSON over fetch below one base path, with the session's CSRF token. Whatever a person typed goes out as it can be stored
 * (models/text). Throws ApiError.
 */
export class Api {
  constructor({ base, token, fetch = globalThis.fetch.bind(globalThis) }) {
    Object.assign(this, { base, token, fetch });
  }

  get(path) {
    return this.#call("GET", path);
  }

  post(path, body) {
    return this.#call("POST", path, body);
  }

  put(path, body) {
    return this.#call("PUT", path, body);
  }

  patch(path, body) {
    return this.#call("PATCH", path, body);
  }

  delete(path, body) {
    return this.#call("DELETE", path, body);
  }

  async #call(method, path, body) {
    const headers = { Accept: "application/json", "X-CSRFToken": this.token };
    if (body) headers["Content-Type"] = "application/json";
    const request = { method, headers, body: body && JSON.stringify(body, storable), credentials: "same-origin" };
    const response = await this.fetch(this.base + path, request).catch(() => {
      throw new ApiError(OFFLINE);
    });
    if (response.status === 204) return null;
    const reply = await response.json().catch(() => ({}));
    if (!response.ok) throw new ApiError(reply.error ?? { code: "server_error", message: "The server could not answer." });
    return reply;
  }
}

function storable(name, value) {
  return typeof value === "string" ? sendable(value) : value;
}

/** The page's token; the cookie itself is out of reach of scripts. */
export function csrfToken() {
  return document.querySelector('meta[name="csrf-token"]').content;
}
