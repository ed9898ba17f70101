const FIRST = 250; // ms
const LONGEST = 10_000; // ms
// Asking again changes nothing.
const LASTING = new Set(["bad_request", "forbidden", "not_authenticated", "not_found"]);

/** Milliseconds until the next try after `failed` ones: twice as long each time, with full jitter. */
export function pause(failed, random = Math.random) {
  return random() * Math.min(LONGEST, FIRST * 2 ** failed);
}

/** Whether what was refused with this error may succeed when nothing but time has passed. */
export function mayPass({ code }) {
  return !LASTING.has(code);
}
