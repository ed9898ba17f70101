"""What the docs cite is there: ``python -m scripts.citations`` complains of every path and link that leads nowhere.

A path may be written from the root or from a folder on the way (``cpu/kernels.c``), and without its ending
(``models/chat``). What looks like one and begins with no folder of ours (``text/event-stream``) is none.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENDINGS = "c|conf|css|h|html|js|json|lua|md|mjs|py|svg|toml|txt|yaml"
QUOTED = re.compile(r"`([^`]+)`")
PATH = re.compile(r"[\w.@-]+(/[\w.@-]+)*/?")
FILE = re.compile(rf"\w[\w.@-]*\.({ENDINGS})")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
UNTRACKED = ("var",)  # written by the product


def main() -> int:
    complaints = list(lost_citations(documents(), tracked_files()))
    for complaint in complaints:
        print(complaint)
    return 1 if complaints else 0


def documents() -> list[Path]:
    return sorted(ROOT / name for name in tracked_files() if name.endswith(".md") and "/vendor/" not in name)


def tracked_files() -> list[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=ROOT, text=True).split("\n")
    return [name for name in names if (ROOT / name).is_file()]


def lost_citations(documents: Sequence[Path], files: Sequence[str]) -> Iterator[str]:
    """``document:line: what leads nowhere``."""
    known = _endings_of(files)
    folders = {part for name in files for part in name.split("/")[:-1]}
    for document in documents:
        for number, line in enumerate(document.read_text().splitlines(), 1):
            words = [word for quoted in QUOTED.findall(line) for word in quoted.split()]
            paths = [word for word in words if _is_path(word, folders) and word.strip("/") not in known]
            links = [link for link in LINK.findall(line) if "://" not in link and not (document.parent / link).exists()]
            for lost in paths + links:
                yield f"{document.relative_to(ROOT)}:{number}: {lost} is not there"


def _is_path(text: str, folders: set[str]) -> bool:
    first, *rest = text.split("/")
    if not PATH.fullmatch(text) or first in UNTRACKED:
        return False
    return first in folders if rest else bool(FILE.fullmatch(text))


def _endings_of(files: Sequence[str]) -> set[str]:
    """Every way to write a file or a folder on its way, from any folder on, with and without the file's ending."""
    found: set[str] = set()
    for name in files:
        parts = name.split("/")
        for start in range(len(parts)):
            found.update("/".join(parts[start:end]) for end in range(start + 1, len(parts) + 1))
            found.add("/".join(parts[start:]).partition(".")[0])
    return found


if __name__ == "__main__":
    sys.exit(main())
