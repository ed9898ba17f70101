"""What the processes between a model server and its readers use, from /proc.

A leader's processes are those of its session, and its children: PostgreSQL's each lead a session of their own.
"""

from __future__ import annotations

import os
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
# Of the fields after the name; from USER on user, system, and both of children that have ended.
PARENT, SESSION, USER, CHILDREN_SYSTEM = 1, 3, 11, 14


def cpu_seconds(leader: int) -> float:
    """So far, of all its processes, those that have ended and were waited for included."""
    ticks = 0
    for entry in Path("/proc").iterdir():
        fields = _fields(entry) if entry.name.isdigit() else []
        if fields and leader in (int(entry.name), int(fields[PARENT]), int(fields[SESSION])):
            ticks += sum(map(int, fields[USER : CHILDREN_SYSTEM + 1]))
    return ticks / TICKS


def rss_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def _fields(process: Path) -> list[str]:
    """Of its stat; none when it has ended since it was listed."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []
