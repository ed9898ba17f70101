"""Why an answer was good or bad: the codes that are stored, and the words people see."""

from __future__ import annotations

from collections.abc import Sequence

from chatapp.common.errors import BadRequest

GOOD, BAD = 1, -1

# A code once used stays: ratings in the database carry it. Codes are unique across both values.
LABELS: dict[int, dict[str, str]] = {
    BAD: {
        "incorrect": "Not correct",
        "ignored_instructions": "Ignored instructions",
        "too_long": "Too long",
        "too_short": "Too short",
        "out_of_date": "Out of date",
        "unsafe": "Unsafe or harmful",
        "style": "Style or tone",
        "other": "Something else",
    },
    GOOD: {
        "correct": "Correct",
        "clear": "Clear",
        "complete": "Complete",
        "well_written": "Well written",
    },
}
CODES = tuple(code for labels in LABELS.values() for code in labels)


def check_reasons(value: int, codes: Sequence[str]) -> list[str]:
    """``codes`` without repeats, in the order given. Raises ``BadRequest`` for one that is not of ``value``."""
    wrong = [code for code in codes if code not in LABELS[value]]
    if wrong:
        known = ", ".join(LABELS[value])
        raise BadRequest(fields={"reasons": [f"{code} is not one of: {known}." for code in wrong]})
    return list(dict.fromkeys(codes))


def choices(value: int) -> list[dict[str, str]]:
    """``[{code, label}]`` for a dialog or a table, in the order to show them."""
    return [{"code": code, "label": label} for code, label in LABELS[value].items()]
