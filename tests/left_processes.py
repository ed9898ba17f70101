"""Processes that a run of the tests has started and that outlive it: every child inherits the run's mark.

Linux only: elsewhere there is no /proc to look at, and nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
import uuid
from pathlib import Path

NAME = "CHATAPP_TESTS_RUN"
END_SECONDS = 5.0  # for what has just been told to end


def mark() -> None:
    """From here on, what this process starts is this run's."""
    os.environ[NAME] = uuid.uuid4().hex


def end(seconds: float = END_SECONDS) -> str:
    """Wait for what this run has started; what is still there then is killed. Returns a line for each of those."""
    deadline = time.monotonic() + seconds
    while (left := find()) and time.monotonic() < deadline:
        time.sleep(0.1)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return "\n".join(f"{pid} {command}" for pid, command in left.items())


def find() -> dict[int, str]:
    """Command lines, by process id. One that has ended and waits for its parent has no environment any more."""
    wanted, found = f"{NAME}={os.environ[NAME]}".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            if int(folder.name) != os.getpid() and wanted in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ").strip()
    return found
