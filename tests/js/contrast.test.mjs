import assert from "node:assert/strict";
import fs from "node:fs";
import test from "node:test";

const css = fs.readFileSync(new URL("../../static/css/tokens.css", import.meta.url), "utf8");
const OKLCH = /oklch\((?:from var\(--tenant-accent\) )?([^()]*(?:\([^()]*\))?[^()]*)\)/g;

/** token -> [light, dark], each {l, c, h}; c and h of the accent come from `tenant`. */
function palette(tenant) {
  const found = {};
  for (const [, name, value] of css.matchAll(/--([\w-]+): light-dark\((.*)\);/g)) {
    const colours = [...value.matchAll(OKLCH)].map(([, body]) => parse(body, tenant));
    if (colours.length === 2) found[name] = colours;
  }
  return found;
}

function parse(body, tenant) {
  const [l, ...rest] = body.split(" ");
  if (!body.includes("min(")) return { l: Number(l), c: Number(rest[0]), h: Number(rest[1]) };
  return { l: Number(l), c: Math.min(tenant.c, Number(body.match(/min\(c, ([\d.]+)\)/)[1])), h: tenant.h };
}

/** Relative luminance of an oklch colour, clipped to sRGB. Matrices: https://bottosson.github.io/posts/oklab/ */
function luminance({ l, c, h }) {
  const a = c * Math.cos((h * Math.PI) / 180);
  const b = c * Math.sin((h * Math.PI) / 180);
  const L = (l + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const M = (l - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const S = (l - 0.0894841775 * a - 1.291485548 * b) ** 3;
  const clip = (value) => Math.min(1, Math.max(0, value));
  const red = clip(4.0767416621 * L - 3.3077115913 * M + 0.2309699292 * S);
  const green = clip(-1.2684380046 * L + 2.6097574011 * M - 0.3413193965 * S);
  const blue = clip(-0.0041960863 * L - 0.7034186147 * M + 1.707614701 * S);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

function contrast(one, other) {
  const [dark, light] = [luminance(one), luminance(other)].sort((x, y) => x - y);
  return (light + 0.05) / (dark + 0.05);
}

const SURFACES = ["surface", "surface-sunken", "surface-raised", "surface-hover"];
const TEXT = [
  ...["ink", "ink-muted", "ink-faint", "accent", "danger", "warn", "ok"].flatMap((ink) => SURFACES.map((on) => [ink, on])),
  ["ink", "surface-active"], ["ink-muted", "surface-active"], ["on-accent", "accent"], ["on-accent", "accent-hover"],
  ["accent", "accent-tint"], ["ink", "accent-tint"], ["ink", "danger-tint"], ["ink", "warn-tint"],
  ["danger", "danger-tint"], ["warn", "warn-tint"],
  ...["comment", "keyword", "string", "number", "title", "type"].map((part) => [`code-${part}`, "code-surface"]),
];
const CONTROLS = SURFACES.slice(0, 3).map((on) => ["line-strong", on]);
const PETROL = { c: 0.085, h: 205 };

for (const [theme, index] of [["light", 0], ["dark", 1]]) {
  const colours = palette(PETROL);
  for (const [ink, on] of TEXT) {
    test(`${theme}: ${ink} on ${on} reads (4.5)`, (t) => {
      const ratio = contrast(colours[ink][index], colours[on][index]);
      t.diagnostic(`${theme} ${ink} on ${on}: ${ratio.toFixed(2)}`);
      assert.ok(ratio >= 4.5, ratio.toFixed(2));
    });
  }
  for (const [line, on] of CONTROLS) {
    test(`${theme}: ${line} on ${on} is visible (3)`, () => {
      const ratio = contrast(colours[line][index], colours[on][index]);
      assert.ok(ratio >= 3, ratio.toFixed(2));
    });
  }
  test(`${theme}: any tenant's accent reads, whatever its hue`, () => {
    for (let h = 0; h < 360; h += 5) {
      for (const c of [0, 0.1, 0.3]) {
        const any = palette({ c, h });
        for (const on of ["surface", "surface-sunken", "surface-raised"]) {
          assert.ok(contrast(any.accent[index], any[on][index]) >= 4.5, `accent ${c} ${h} on ${on}`);
        }
        assert.ok(contrast(any["on-accent"][index], any.accent[index]) >= 4.5, `on-accent ${c} ${h}`);
      }
    }
  });
}

const OUTLINED = {
  "overlay.css": [".chip"], "composer.css": [".suggestions"], "message.css": [".message-cancel"], "field.css": [".input"], "settings.css": [".settings-tabs"],
};
for (const [file, selectors] of Object.entries(OUTLINED)) {
  const rules = fs.readFileSync(new URL(`../../static/css/components/${file}`, import.meta.url), "utf8");
  for (const selector of selectors) {
    test(`what can be pressed or filled has an outline that is visible: ${selector}`, () => {
      const rule = rules.slice(rules.search(new RegExp(`^  \\${selector} \\{`, "m")));
      assert.equal(rule.match(/border: 1px solid var\(--([\w-]+)\)/)[1], "line-strong");
    });
  }
}
