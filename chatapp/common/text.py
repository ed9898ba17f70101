"""Text as people and programs send it, and as every part of the product can keep it."""

from __future__ import annotations

# What no keyboard writes; not tab and line ends. PostgreSQL cannot store the first of them.
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])


def storable(text: str) -> str:
    """``text`` without control characters, and with U+FFFD for each half of a surrogate pair."""
    return well_formed(text).translate(CONTROLS)


def well_formed(text: str) -> str:
    """JSON's escapes can name half a character (``\\ud83d``), which no encoding has a place for."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
