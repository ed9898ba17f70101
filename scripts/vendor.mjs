// Fetches the browser libraries at the versions below and writes them, minified, where the pages load them from:
// static/js/vendor/, static/css/vendor/, static/fonts/, static/icons.svg. The outputs are committed, so that running the
// product needs neither node nor a network. Run `node scripts/vendor.mjs` after changing a version or an icon.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const PACKAGES = {
  "@hotwired/stimulus": "3.2.2",
  "markdown-it": "15.0.3",
  dompurify: "3.4.18",
  katex: "0.19.1",
  "@highlightjs/cdn-assets": "11.12.0",
  "lucide-static": "1.62.0",
  "@fontsource-variable/geist": "5.3.0",
  "@fontsource-variable/geist-mono": "5.3.0",
  esbuild: "0.28.2",
};

// file in static/js/vendor -> the module it re-exports
const BUNDLES = {
  stimulus: 'export * from "@hotwired/stimulus";',
  "markdown-it": 'export { default } from "markdown-it";',
  dompurify: 'export { default } from "dompurify";',
  katex: 'export { render } from "katex";',
};

// module that a bundle would bring -> one of ours in its place
const OURS = { entities: "models/entities" };

const LANGUAGES = `bash c cpp csharp css diff dockerfile go ini java javascript json kotlin lua makefile markdown
  nginx php powershell python r ruby rust scala scss shell sql swift typescript xml yaml`.split(/\s+/);

const FONTS = {
  "@fontsource-variable/geist": ["geist-latin-wght-normal", "geist-latin-ext-wght-normal", "geist-latin-wght-italic"],
  "@fontsource-variable/geist-mono": ["geist-mono-latin-wght-normal", "geist-mono-latin-ext-wght-normal"],
};

const ICONS = `arrow-down arrow-left arrow-up building-2 chart-column check chevron-left chevron-right chevrons-up-down
  circle-alert clock copy ellipsis gauge info key-round link list-ordered log-out mail monitor moon panel-left pencil
  play plug refresh-cw scroll-text search settings shield-check sliders-horizontal square square-pen sun thumbs-down
  thumbs-up trash-2 triangle-alert undo-2 user-plus users wifi-off x`.split(/\s+/);

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const vendor = path.join(root, "static/js/vendor");
const work = fs.mkdtempSync(path.join(os.tmpdir(), "vendor-"));
const inPackages = (...parts) => path.join(work, "node_modules", ...parts);

function install() {
  const wanted = Object.entries(PACKAGES).map(([name, version]) => `${name}@${version}`);
  fs.writeFileSync(path.join(work, "package.json"), '{"private": true}');
  execFileSync("npm", ["install", "--no-audit", "--no-fund", "--ignore-scripts", ...wanted], { cwd: work, stdio: "inherit" });
}

function emptyFolder(folder) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
}

/** Bundles each entry into one minified module; returns the packages that went in. */
async function bundle() {
  const { build } = createRequire(path.join(work, "package.json"))("esbuild");
  const used = new Set();
  for (const [name, contents] of Object.entries(BUNDLES)) {
    const { metafile } = await build({
      stdin: { contents, resolveDir: work },
      outfile: path.join(vendor, `${name}.js`),
      alias: OURS, external: Object.values(OURS),
      bundle: true, minify: true, format: "esm", target: "es2022", legalComments: "none", metafile: true,
    });
    for (const input of Object.keys(metafile.inputs)) {
      const match = input.match(/node_modules\/((?:@[^/]+\/)?[^/]+)\//);
      if (match) used.add(match[1]);
    }
  }
  return used;
}

function copyHighlighter() {
  const source = inPackages("@highlightjs/cdn-assets/es");
  const target = path.join(vendor, "highlight");
  emptyFolder(target);
  fs.copyFileSync(path.join(source, "core.min.js"), path.join(target, "core.js"));
  for (const language of LANGUAGES) {
    fs.copyFileSync(path.join(source, "languages", `${language}.min.js`), path.join(target, `${language}.js`));
  }
}

function copyFonts() {
  const target = path.join(root, "static/fonts");
  emptyFolder(target);
  for (const [name, files] of Object.entries(FONTS)) {
    for (const file of files) fs.copyFileSync(inPackages(name, "files", `${file}.woff2`), path.join(target, `${file}.woff2`));
  }
}

/** The stylesheet of formulas, in a layer of its own, and the fonts that it names. */
function copyFormulaStyles() {
  const target = path.join(root, "static/css/vendor");
  emptyFolder(target);
  const css = fs.readFileSync(inPackages("katex/dist/katex.min.css"), "utf8");
  const shrunk = css.replace(/,url\([^)]*\.(?:woff|ttf)\) format\("\w+"\)/g, "");
  const fonts = [...shrunk.matchAll(/url\(fonts\/([\w-]+\.woff2)\)/g)].map(([, file]) => file);
  for (const file of fonts) fs.copyFileSync(inPackages("katex/dist/fonts", file), path.join(root, "static/fonts", file));
  fs.writeFileSync(path.join(target, "katex.css"), `@layer vendor {${shrunk.replaceAll("url(fonts/", "url(../../fonts/")}}\n`);
}

/** One sprite: <use href="icons.svg#copy">. Stroke and size come from the stylesheet. */
function writeIcons() {
  const symbols = ICONS.map((name) => {
    const svg = fs.readFileSync(inPackages("lucide-static/icons", `${name}.svg`), "utf8");
    const body = svg.slice(svg.indexOf(">", svg.indexOf("<svg")) + 1, svg.lastIndexOf("</svg>"));
    return `<symbol id="${name}" viewBox="0 0 24 24">${body.replace(/\s*\n\s*/g, "")}</symbol>`;
  });
  const sprite = `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
  fs.writeFileSync(path.join(root, "static/icons.svg"), sprite);
}

function licenceOf(name) {
  const manifest = JSON.parse(fs.readFileSync(inPackages(name, "package.json"), "utf8"));
  const files = fs.readdirSync(inPackages(name)).filter((file) => /^licen[cs]e/i.test(file)).sort();
  if (files.length === 0) throw new Error(`${name} carries no licence file`);
  const text = fs.readFileSync(inPackages(name, files[0]), "utf8").trim();
  return `## ${name} ${manifest.version} (${manifest.license})\n\n\`\`\`\`text\n${text}\n\`\`\`\`\n`;
}

function writeLicences(bundled) {
  const copied = ["@highlightjs/cdn-assets", "lucide-static", ...Object.keys(FONTS)];
  const names = [...new Set([...bundled, ...copied])].sort();
  const intro = "# Licences of the libraries, fonts and icons in static/\n\nWritten by scripts/vendor.mjs.\n";
  fs.writeFileSync(path.join(vendor, "LICENSES.md"), [intro, ...names.map(licenceOf)].join("\n"));
}

try {
  install();
  emptyFolder(vendor);
  const bundled = await bundle();
  copyHighlighter();
  copyFonts();
  copyFormulaStyles();
  writeIcons();
  writeLicences(bundled);
} finally {
  fs.rmSync(work, { recursive: true, force: true });
}
