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

let highlighter = null;

/** Colour the finished <code class="language-…">. The highlighter and the language are fetched when first needed. */
export async function highlight(code) {
  const wanted = code.className.slice("language-".length).toLowerCase();
  const language = ALIASES[wanted] ?? wanted;
  if (!LANGUAGES.has(language) || code.dataset.highlighted) return;
  code.dataset.highlighted = language;
  const source = code.textContent;
  const hljs = await load(language);
  if (code.textContent !== source) return;
  code.replaceChildren(DOMPurify.sanitize(hljs.highlight(source, { language }).value, { RETURN_DOM_FRAGMENT: true }));
}

async function load(language) {
  highlighter ??= import("vendor/highlight/core").then(({ default: hljs }) => hljs);
  const [hljs, grammar] = await Promise.all([highlighter, import(`vendor/highlight/${language}`)]);
  if (!hljs.getLanguage(language)) hljs.registerLanguage(language, grammar.default);
  return hljs;
}
