"""Formulas, footnotes and boxes of an answer, as they are drawn while it is written and copied afterwards."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e

GROW = """async ([text, step]) => {
  const { MarkdownView } = await import("models/markdown");
  const prose = document.createElement("div");
  prose.className = "prose";
  document.querySelector(".messages").replaceChildren(prose);
  const view = (window.view = new MarkdownView(prose, document.getElementById("code-box")));
  const seen = new Map(); // drawn formula -> how many drawings of its source there have been
  let redrawn = 0;
  const look = () => {
    for (const formula of prose.querySelectorAll(".formula[data-source]")) {
      const { source } = formula.dataset;
      if (seen.has(source) && seen.get(source) !== formula.firstChild) redrawn += 1;
      seen.set(source, formula.firstChild);
    }
  };
  for (let end = step; end < text.length; end += step) {
    view.update(text.slice(0, end));
    look();
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  view.finish(text);
  look();
  return redrawn;
}"""
TEXT = r"""For $ax^2 + b$ one pays $5 and $10, and \(x_1 \cdot x_2\) too:

$$
x = \frac{-b \pm \sqrt{b^2}}{2a}
$$

1. In an item \[ \sum_{n=1}^{\infty} n \] goes on
2. `$code$` and \$3

See[^1].

[^1]: Of \(n\).
"""


def write(page, text, step=3):
    return page.evaluate(GROW, [text, step])


def drawn(page):
    return page.locator(".formula[data-source]")


def test_formulas_are_drawn_while_the_answer_is_written_each_once(page):
    fetched = []
    page.on("request", lambda request: fetched.append(request.url))
    assert write(page, "Nothing but $5, **words** and `code`.\n\nMore.\n") == 0
    assert [url for url in fetched if "katex" in url.lower()] == []
    write(page, r"\(x\)")  # the library is fetched
    expect(drawn(page)).to_have_count(1)
    assert write(page, TEXT) == 0
    sources = [formula.get_attribute("data-source") for formula in drawn(page).all()]
    assert sources == [
        "$ax^2 + b$",
        r"\(x_1 \cdot x_2\)",
        "$$\nx = \\frac{-b \\pm \\sqrt{b^2}}{2a}\n$$",
        r"\[ \sum_{n=1}^{\infty} n \]",
        r"\(n\)",
    ]
    expect(page.locator(".prose math")).to_have_count(5)
    expect(page.locator(".prose .katex-display")).to_have_count(2)
    words = page.locator(".prose").inner_text()
    assert "one pays $5 and $10, and" in words
    assert "$code$ and $3" in words
    fonts = page.evaluate("[...document.fonts].filter((font) => font.status === 'loaded').map((font) => font.family)")
    assert "KaTeX_Math" in fonts


@pytest.mark.parametrize(
    "source",
    [
        r"\(\frac{1}{\)",
        r"$\nosuch{x}$",
        r"$$\begin{matrix} a$$",
        r"\[ \left( x",
        r"\(\href{javascript:alert(1)}{x}\)",
        "\\(" + "{" * 4000 + "\\)",
        r"\(\def\a{\a\a}\a\)",
    ],
)
def test_what_is_no_formula_is_shown_as_it_was_written(page, source):
    write(page, r"\(x\)")
    expect(drawn(page)).to_have_count(1)
    write(page, source, 7)
    shown = page.locator(".prose")
    if "href" in source:
        expect(shown.locator("a")).to_have_count(0)
    else:
        assert shown.inner_text() == source
        expect(drawn(page)).to_have_count(0)


def test_a_formula_that_is_too_wide_is_scrolled_in_its_place(page):
    page.set_viewport_size({"width": 390, "height": 844})
    write(page, "$$" + "x + " * 60 + "y$$\n\nand \\(\\underbrace{" + "x" * 80 + "}_n\\) here\n")
    expect(drawn(page)).to_have_count(2)
    wide = drawn(page).first
    expect(wide).to_have_attribute("tabindex", "0")
    assert wide.evaluate("element => element.scrollWidth > 2 * element.clientWidth")
    for box in (".main", "html", ".scroller"):
        assert page.locator(box).evaluate("element => element.scrollWidth <= element.clientWidth"), box
    page.set_viewport_size({"width": 3000, "height": 844})
    write(page, "$$x$$\n")
    expect(drawn(page).first).not_to_have_attribute("tabindex", "0")


def test_formulas_are_copied_as_they_were_written(page):
    write(page, TEXT)
    expect(drawn(page)).to_have_count(5)
    page.evaluate("""() => {
      const [first, second] = document.querySelectorAll(".formula");
      const inside = (formula) => formula.querySelector(".katex-html .mord").firstChild;
      getSelection().setBaseAndExtent(inside(first), 0, inside(second), 1);
    }""")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == r"$ax^2 + b$ one pays $5 and $10, and \(x_1 \cdot x_2\)"
    page.evaluate("() => getSelection().selectAllChildren(document.querySelector('.prose ol'))")
    page.keyboard.press("Control+c")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.split("\n") == [r"In an item \[ \sum_{n=1}^{\infty} n \] goes on", "$code$ and $3"]


def test_a_formula_runs_from_left_to_right_in_any_text(page):
    write(page, "كتلة \\(a + b = c\\) هنا\n\n$$\\text{كتلة} = m$$\n")
    expect(drawn(page)).to_have_count(2)
    directions = [formula.evaluate("e => getComputedStyle(e).direction") for formula in drawn(page).all()]
    assert directions == ["ltr", "ltr"]
    assert page.locator(".prose > p").first.evaluate("e => e.matches(':dir(rtl)')")


def test_boxes_are_boxes_that_nobody_can_tick(page):
    write(page, "- [ ] buy **tea**\n- [x] boil water\n- plain\n", 1)
    boxes = page.locator(".prose").get_by_role("checkbox")
    expect(boxes).to_have_count(2)
    assert [(box.is_checked(), box.is_disabled()) for box in boxes.all()] == [(False, True), (True, True)]
    assert "[" not in page.locator(".prose").inner_text()


def test_a_footnote_and_its_use_lead_to_each_other(page):
    write(page, "One[^1], two[^b], none[^c].\n\n[^1]: first\n[^b]: second\n    goes on\n", 1)
    address = page.url
    assert page.locator(".prose > p").inner_text() == "One1, twob, none[^c]."
    page.get_by_role("link", name="Note b", exact=True).click()
    expect(page.get_by_role("link", name="Back to where note b is used")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("link", name="Note b", exact=True)).to_be_focused()
    assert page.url == address
    assert page.locator(".footnote").all_inner_texts() == ["1\n\nfirst", "b\n\nsecond\ngoes on"]


def test_a_number_in_brackets_that_is_no_footnote_is_shown_in_the_end(page):
    write(page, "Not one of `a`: [^1] and [^2].\n\nNext.\n", 1)
    assert page.locator(".prose").inner_text() == "Not one of a: [^1] and [^2].\n\nNext."
