/** What the page says, from what it knows. Pure: the clock comes in as milliseconds. */

const LONG_WAIT = 30; // seconds from which a wait is worth an explanation

const BARRED = {
  logged_out: "Log in again to send this",
  suspended: "Your account is switched off",
  new_password: "Log in again to send this",
  no_second_factor: "Set up a second factor to send this",
  not_found: "You cannot send here any more",
  other_person: "Log in again to send this",
  too_many: "Close other pages to send this",
};
const LATER = "Sent once you have logged in again";
const BARRED_SENDING = {
  logged_out: LATER,
  suspended: "Sent once your account is switched on again",
  new_password: LATER,
  no_second_factor: "Sent once you are back with a second factor",
  other_person: LATER,
};

const UNKNOWN = new Set(["down", "offline"]); // a server that restarts keeps what was written
const CONNECTION = {
  down: { words: "Connection lost. Reconnecting…" },
  restarting: { words: "The server is restarting. Reconnecting… What was written is kept." },
  offline: { words: "You are offline. This page goes on by itself when the network is back." },
  logged_out: { words: "You have been logged out. What you wrote here is kept for you.", way: "Log in", to: "login" },
  suspended: {
    words: "Your account has been switched off. Whoever runs this server can switch it on again. What you wrote here is kept for you.",
    way: "What this means",
    to: "suspended",
  },
  new_password: {
    words: "Your password was changed. Log in with the new one; what you wrote here is kept for you. If it was not you, reset it on the next page.",
    way: "Log in",
    to: "login",
  },
  no_second_factor: {
    words: "This workspace now asks for a second factor. Set one up, then come back; what you wrote here is kept for you.",
    way: "Set one up",
    to: "factor",
  },
  not_found: { words: "You are no longer a member of this workspace.", way: "Your workspaces", to: "home" },
  other_person: { words: "Somebody else has logged in here. What you wrote is kept for you.", way: "Open their chats", to: "home" },
  too_many: { words: "You have too many pages open here. Close some of them, then load this one anew.", way: "Your workspaces", to: "home" },
};

const REST = {
  logged_out: "Log in to see the rest.",
  suspended: "Your account has been switched off.",
  new_password: "Log in with your new password to see the rest.",
  no_second_factor: "Set up a second factor to see the rest.",
  not_found: "You are no longer a member of this workspace.",
  other_person: "Log in again to see the rest.",
  too_many: "Close other pages and load this one anew to see the rest.",
};

const count = new Intl.NumberFormat("en");

export function ordinal(number) {
  const suffix = { one: "st", two: "nd", few: "rd", other: "th" };
  return number + suffix[new Intl.PluralRules("en", { type: "ordinal" }).select(number)];
}

/** "14:05 UTC" of an ISO time. */
export function utcTime(iso) {
  return `${iso.slice(11, 16)} UTC`;
}

/** "1,240 of 50,000 tokens today · resets 00:00 UTC" */
export function usageLine({ used, limit, resets_at }) {
  if (limit === null) return `${count.format(used)} tokens today`;
  return `${count.format(used)} of ${count.format(limit)} tokens today · resets ${utcTime(resets_at)}`;
}

/** "Loading model 42%"; empty when the model is ready. */
export function modelLine({ state, progress, error }) {
  const percent = progress > 0 && progress < 1 ? ` ${Math.floor(progress * 100)}%` : "";
  return {
    starting: "Starting the model",
    downloading: `Downloading the model${percent}`,
    loading: `Loading model${percent}`,
    ready: "",
    draining: "The model is restarting",
    failed: `The model could not be loaded${error ? `: ${error}` : ""}`,
    absent: "No model is running",
  }[state];
}

/** Why an answer has no text yet: the model first, then the place in line and how long that takes, if it is known. */
export function waitingLine(position, model) {
  const line = modelLine(model);
  if (line) return `${line}…`;
  if (!position) return "Waiting for the model…";
  const place = position.place <= 1 ? "You’re next" : `You’re ${ordinal(position.place)} in line`;
  return position.wait ? `${place}, about ${duration(position.wait)}` : place;
}

/** What to say to someone whose turn is far off; empty where it is near, or where the model is the reason. */
export function busyLine(position, model) {
  const far = position?.wait >= LONG_WAIT && modelLine(model) === "";
  return far ? "All our GPUs are busy. Your message is saved; we’ll start it as soon as we can." : "";
}

/** "20 s", "3 min", "2 h" */
export function duration(seconds) {
  if (seconds <= 90) return `${Math.ceil(seconds)} s`;
  return seconds <= 90 * 60 ? `${Math.ceil(seconds / 60)} min` : `${Math.ceil(seconds / 3600)} h`;
}

/** How much of the chat's beginning the model had no room for; empty when it read all. */
export function droppedLine(messages) {
  if (!messages) return "";
  const earliest = messages === 1 ? "the earliest message" : `the earliest ${count.format(messages)} messages`;
  return `This chat is longer than the model can read at once: it no longer read ${earliest}.`;
}

/** What the folded thoughts of a model are called. */
export function thoughtLine({ thinks }) {
  return thinks ? "Thinking…" : "Thoughts";
}

/** What an answer that ended early says, and what happens next. Empty for one that is done. */
export function endingLine({ state, canContinue, error, text, thought }) {
  const again = text === "" ? "Ask again puts it in line once more." : "Continue goes on after its last word.";
  const next = canContinue ? again : "Regenerate writes a new one.";
  return {
    stopped: text === "" && !thought ? "You cancelled this before it began." : "This answer was stopped.",
    unfollowed: `This page no longer follows the answer. ${REST[error?.code]}`,
    interrupted: `The server restarted while this was being written. ${next}`,
    failed: error?.code === "no_words" ? error.message : `${error?.message ?? "The answer failed."} ${next}`, // that one says it itself
  }[state] ?? (canContinue ? "This answer reached its longest length." : "");
}

/** Seconds until a refused request may be repeated, 0 when it may. `elapsed` in ms. */
export function retryIn({ retry_after }, elapsed) {
  return Math.max(0, (retry_after ?? 0) - elapsed / 1000);
}

/** When a refused request may be repeated: a time of day, or a count down. `elapsed` in ms. */
export function retryLine({ retry_after, resets_at }, elapsed) {
  if (resets_at) return `Resets at ${utcTime(resets_at)}.`;
  if (retry_after === null || retry_after === undefined) return "";
  const left = retryIn({ retry_after }, elapsed);
  return left ? `Try again in ${duration(left)}.` : "You can try again now.";
}

/** Why a text cannot be sent, or empty. `limit` is in code points. */
export function tooLong(length, limit) {
  const over = length - limit;
  const characters = over === 1 ? "character" : "characters";
  return over > 0 ? `${count.format(over)} ${characters} over the limit of ${count.format(limit)}` : "";
}

/**
 * What has become of the connection: {words, way, to}, where `way` is the name of the link that leads on, if one does, `to` what
 * it leads to. Of an answer nothing is known meanwhile: the server that writes it may be what is gone.
 */
export function connectionLine(state, answering) {
  const { words, way = null, to = null } = CONNECTION[state];
  return { words: answering && UNKNOWN.has(state) ? `${words} Then you see how far your answer has come.` : words, way, to };
}

/** Whether a refused message is kept, and where. */
export function keptLine({ draft, elsewhere }) {
  if (!draft) return "";
  return elsewhere ? "Your message is kept in the chat it was written in." : "Your message is kept.";
}

/** What becomes of a message that was sent and not yet answered. */
export function sendingLine(connection) {
  if (connection === "up") return "Sending…";
  return BARRED_SENDING[connection] ?? "Sent as soon as the connection is back";
}

/** Why the message box cannot send now, in words; empty when it can. `connection` is its state. */
export function obstacle({ text, length, limit, sending, answering, refused, connection = "up" }) {
  if (sending) return sendingLine(connection);
  if (!text.trim()) return "Write a message first";
  if (connection in BARRED) return BARRED[connection];
  if (refused) return `You can send this in ${duration(refused)}`;
  if (answering) return "Wait for the answer, or stop it with Esc";
  return tooLong(length, limit);
}

const DRAWN = [["temperature", "temperature"], ["top_p", "top-p", 1], ["top_k", "top-k", 0], ["min_p", "min-p", 0], ["repetition_penalty", "repetition penalty", 1]];

/** How an answer's words were drawn: "temperature 0.7, top-p 0.9". What is off is left out, and so is what a temperature of 0 ignores. */
export function drawnLine(sampling) {
  const stated = ([name, , off]) => Number.isFinite(sampling[name]) && sampling[name] !== off && !(name === "top_k" && sampling[name] < 0);
  const told = DRAWN.filter(stated).slice(0, sampling.temperature === 0 ? 1 : undefined);
  return told.map(([name, word]) => `${word} ${count.format(sampling[name])}`).join(", ");
}

export function tokens(number) {
  return `${count.format(number)} ${number === 1 ? "token" : "tokens"}`;
}
