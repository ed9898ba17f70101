import { toast } from "models/dom";

const WORDS = "Something went wrong on this page. Load it again if it does not go on.";
const told = new WeakSet();
let telling = false;

/** Whatever goes wrong in a handler reaches the reader: an exception nobody caught is told as a toast, and logged as ever. */
export function watchMishaps(application) {
  application.handleError = (error) => reportError(error);
  addEventListener("error", ({ error }) => tell(error));
  addEventListener("unhandledrejection", ({ reason }) => tell(reason));
}

/** An error in words for a person. One that no server sent is a fault of the page, and logged as such. */
export function inWords(error) {
  if (error.code) return error;
  told.add(error);
  reportError(error);
  return { code: "page_error", message: WORDS, retry_after: null, resets_at: null };
}

/** Once, and not of an error in telling. */
function tell(error) {
  if (telling || !(error instanceof Error) || told.has(error)) return;
  telling = true;
  toast(error.code ? error.message : WORDS);
  telling = false;
}
