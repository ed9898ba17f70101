"""Text as people and programs send it, and as every part of the product can keep it."""

from __future__ import annotations

import re

# What no keyboard writes; not tab and line ends. PostgreSQL cannot store the first of them.
CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127])
# Control characters, those that turn the direction of what follows them, and those that nobody sees. Joiners stay:
# emoji and several scripts are written with them.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def storable(text: str) -> str:
    """``text`` without control characters, and with U+FFFD for each half of a surrogate pair."""
    return well_formed(text).translate(CONTROLS)


def well_formed(text: str) -> str:
    """JSON's escapes can name half a character (``\\ud83d``), which no encoding has a place for."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def one_line(text: str, most: int) -> str:
    """``text`` on one line, of ``most`` characters, without any that would change how others are shown."""
    return " ".join(UNSEEN.sub("", text).split())[:most].rstrip()
