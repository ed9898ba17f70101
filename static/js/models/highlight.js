import DOMPurify from "vendor/dompurify";

const ALIASES = {
  sh: "bash", zsh: "bash", console: "shell", js: "javascript", jsx: "javascript", mjs: "javascript", ts: "typescript",
  tsx: "typescript", py: "python", python3: "python", rb: "ruby", rs: "rust", cs: "csharp", "c++": "cpp", h: "c",
  golang: "go", kt: "kotlin", yml: "yaml", html: "xml", svg: "xml", md: "markdown", toml: "ini", docker: "dockerfile",
  make: "makefile", ps1: "powershell", postgresql: "sql", patch: "diff",
};
const LANGUAGES = new Set(
  `bash c cpp csharp css diff dockerfile go ini java javascript json kotlin lua makefile markdown nginx php powershell
  python r ruby rust scala scss shell sql swift typescript xml yaml`.split(/\s+/),
);

let highlighter = null; // once it is here
let shown = { key: null, fragment: null }; // the coloured lines of the code that is being written

/** Colour the finished <code class="language-…">. The highlighter and the language are fetched when first needed. */
export async function highlight(code) {
  const language = languageOf(code);
  if (!language || code.dataset.highlighted) return;
  code.dataset.highlighted = language;
  const source = code.textContent;
  if (!isReady(language)) await load(language);
  if (code.textContent === source) code.replaceChildren(coloured(source, language));
}

/** Colour the finished lines of what is still being written, if the language is here; otherwise begin to fetch it. */
export function highlightLines(code) {
  const language = languageOf(code);
  if (!language) return;
  if (!isReady(language)) return void load(language);
  const source = code.textContent;
  const end = source.lastIndexOf("\n") + 1;
  if (end > 0) code.replaceChildren(remembered(source.slice(0, end), language), source.slice(end));
}

function languageOf(code) {
  const [, wanted = ""] = code.className.toLowerCase().match(/language-(\S+)/) ?? [];
  const language = ALIASES[wanted] ?? wanted;
  return LANGUAGES.has(language) ? language : null;
}

function isReady(language) {
  return Boolean(highlighter?.getLanguage?.(language));
}

function coloured(source, language) {
  return DOMPurify.sanitize(highlighter.highlight(source, { language }).value, { RETURN_DOM_FRAGMENT: true });
}

/** Coloured once for each new line, not for each word in it. */
function remembered(source, language) {
  const key = `${language}\n${source}`;
  if (shown.key !== key) shown = { key, fragment: coloured(source, language) };
  return shown.fragment.cloneNode(true);
}

async function load(language) {
  const core = import("vendor/highlight/core");
  const [{ default: hljs }, grammar] = await Promise.all([core, import(`vendor/highlight/${language}`)]);
  if (!hljs.getLanguage(language)) hljs.registerLanguage(language, grammar.default);
  highlighter = hljs;
}
