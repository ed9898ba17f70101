"""Words for one line of a page: titles and names that people and models make up."""

from __future__ import annotations

import re

# Control characters, those that turn the direction of what follows them, and those that nobody sees. Joiners stay:
# emoji and several scripts are written with them.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)


def one_line(text: str, most: int) -> str:
    """``text`` on one line, of ``most`` characters, without any that would change how others are shown."""
    return " ".join(UNSEEN.sub("", text).split())[:most].rstrip()
