"""What one more word costs in a long block of Markdown, in a real browser.

``python -m benchmarks.appends --json FILE``. An answer that is a single block (a paragraph, a table, a list, …) grows
to ``SIZE`` characters in the chat page, 25 at a time, as it does when it is streamed. Taken are the last 200:
parsing, drawing and the layout that follows, in ms. ``low`` is the tenth percentile, what it takes
where nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from benchmarks.workload import machine
from tests.e2e.conftest import CHROMIUM, QUIET, sign_up
from tests.e2e.server import Product

SIZE, APPENDS = 120_000, 200
WORDS = "Lorem **ipsum dolor** sit `amet` consectetur elit. "
BLOCKS = {  # head, and what is repeated after it
    "paragraph": ("", WORDS),
    "lines": ("", WORDS + "\n"),
    "list": ("", f"- {WORDS}\n"),
    "numbered": ("", f"1. {WORDS}\n"),
    "nested": ("- first\n", f"  - {WORDS}\n"),
    "one item": ("- first\n\n  ", WORDS),
    "table": ("| a | b | c |\n|---|--:|---|\n", "| **row** | 12 | some words |\n"),
    "quote": ("", f"> {WORDS}\n"),
    "code": ("```python\n", "value = compute(1, 'two')  # three\n"),
    "formulas": ("", WORDS + "Then \\(a_1 \\cdot b\\) and $\\frac{a}{b^2}$. "),
    "formulas in items": ("", "- so \\(a_1 \\cdot b\\) and $\\sqrt{c^2}$\n"),
    "one formula": ("$$\n", "a_1 + \\frac{b}{c} + \\\\\n"),
    "tasks": ("", f"- [x] {WORDS}\n"),
    "code in an item": ("- first\n  ```python\n", "  value = compute(1, 'two')\n"),
}
MEASURE = """
async ([head, unit, size, appends]) => {
  const { MarkdownView } = await import("models/markdown");
  const prose = document.createElement("div");
  prose.className = "prose";
  document.querySelector(".messages").replaceChildren(prose);
  const view = new MarkdownView(prose, document.getElementById("code-box"));
  const text = head + unit.repeat(size / unit.length);
  view.update(text.slice(0, 200));
  await new Promise((resolve) => setTimeout(resolve, 100)); // the grammar of the code
  const took = [];
  const from = text.length - 25 * appends;
  const grow = (end) => {
    const began = performance.now();
    view.update(text.slice(0, end));
    prose.getBoundingClientRect();
    took.push(performance.now() - began);
  };
  for (let end = 200; end < from; end += PIECE) grow(end);
  took.length = 0;
  for (let end = from; end <= text.length; end += 25) {
    grow(end);
    if (end % 10 === 0) await new Promise((resolve) => setTimeout(resolve));
  }
  took.sort((a, b) => a - b);
  const began = performance.now();
  view.finish(text);
  prose.getBoundingClientRect();
  const at = (share) => took[(appends * share) | 0];
  return { low: at(0.1), median: at(0.5), p95: at(0.95), finish: performance.now() - began };
}
"""


def measure(piece: int, appends: int) -> dict[str, dict[str, float]]:
    """ms by kind of block."""
    script = MEASURE.replace("PIECE", str(piece))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        product = Product(Path(folder) / "var")
        product.start()
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        try:
            page = browser.new_context(base_url=product.url, viewport={"width": 1440, "height": 900}).new_page()
            sign_up(page)
            found = {name: page.evaluate(script, [*block, SIZE, appends]) for name, block in BLOCKS.items()}
        finally:
            browser.close()
            product.stop()
    return {name: {key: round(value, 2) for key, value in row.items()} for name, row in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--piece", type=int, default=1000, help="characters at a time until the last appends")
    parser.add_argument("--appends", type=int, default=APPENDS)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found: dict[str, Any] = {
        "machine": machine(),
        "characters": SIZE,
        "appends": measure(options.piece, options.appends),
    }
    for name, row in found["appends"].items():
        print(f"{name:>16}", *(f"{key} {value:8.2f} ms" for key, value in row.items()), sep="  ")
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
