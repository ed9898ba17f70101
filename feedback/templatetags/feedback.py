"""The rating dialog of the chat page, and the reports' numbers as people read them."""

from __future__ import annotations

from typing import Any

from django import template

from feedback import wording
from feedback.reasons import BAD, GOOD, choices
from feedback.statistics import Interval, Share

register = template.Library()


@register.inclusion_tag("feedback/_rating_dialog.html")
def rating_dialog() -> dict[str, Any]:
    """The dialog that asks for reasons and a comment: ``reasons`` is ``{"bad": [{code, label}], "good": …}``."""
    return {"reasons": {"bad": choices(BAD), "good": choices(GOOD)}}


@register.filter
def count(number: int) -> str:
    """``1,234``."""
    return f"{number:,}"


@register.filter
def sortable(share: Share) -> str:
    """A share as a number to sort by; empty when there is nothing to divide."""
    return "" if share.value is None else f"{share.value:.6f}"


@register.filter
def low_end(interval: Interval | None) -> str:
    """The low end of an interval, to sort by."""
    return f"{interval.low:.6f}" if interval else ""


for words in (
    wording.approval_caution,
    wording.approval_headline,
    wording.counted,
    wording.day_name,
    wording.percent,
    wording.percent_range,
    wording.period_name,
):
    register.filter(words.__name__, words)
register.simple_tag(wording.change, name="change")
