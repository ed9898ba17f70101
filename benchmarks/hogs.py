"""Programs that want the processors while something else is measured: hogs, and a browser that draws."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.process import session

SETTLE = 0.5  # seconds for a neighbour to get going
PAGE = """<!doctype html><title>moves</title><canvas width=1200 height=800></canvas><script>
const c = document.querySelector("canvas").getContext("2d");
function draw(t) {
  c.clearRect(0, 0, 1200, 800);
  for (let i = 0; i < 1500; i++) {
    c.fillStyle = `hsl(${(i + t / 10) % 360} 80% 60% / .5)`;
    c.beginPath();
    c.arc(600 + 500 * Math.sin(t / 900 + i), 400 + 300 * Math.cos(t / 700 + i * 1.7), 12, 0, 7);
    c.fill();
  }
  requestAnimationFrame(draw);
}
requestAnimationFrame(draw);
</script>"""
BROWSER = ("--headless=new", "--no-sandbox", "--disable-gpu", "--mute-audio", "--no-first-run")
HOG = "while True: pass"
HALF = """import time
while True:
    end = time.perf_counter() + .008
    while time.perf_counter() < end: pass
    time.sleep(.008)
"""
Neighbour = Callable[[], AbstractContextManager[Any]]


def all_neighbours(hogs: Sequence[int]) -> tuple[dict[str, Neighbour], str]:
    """By name; and which browser that is."""
    found: dict[str, Neighbour] = {"quiet": nullcontext}
    found |= {
        f"{count} hog{'s' * (count > 1)}": partial(programs, [[sys.executable, "-c", HOG]] * count) for count in hogs
    }
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program:
        return found | {"browser": partial(browsing, program)}, program
    half = partial(programs, [[sys.executable, "-c", HALF]] * 2, start_new_session=True)
    return found | {"browser": half}, "none here; in its place two processes that compute half of the time"


@contextmanager
def programs(commands: list[list[str]], **more: Any) -> Iterator[list[int]]:
    """Their process ids. In one session, which ends with all that it has."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more))
        yield [process.pid for process in running]
    finally:
        for process in running:
            (os.killpg if more.get("start_new_session") else os.kill)(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def browsing(program: str) -> Iterator[list[int]]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "page.html"
        page.write_text(PAGE)
        command = [program, *BROWSER, f"--user-data-dir={folder}/profile", "--remote-debugging-port=0", page.as_uri()]
        with programs([command], start_new_session=True) as pids:
            time.sleep(3)  # to start
            yield pids


def processors(start: Neighbour, seconds: float = 3.0) -> float:
    """That a neighbour uses whose programs have sessions of their own."""
    with start() as leaders:
        time.sleep(SETTLE)
        before = sum(map(used, leaders))
        time.sleep(seconds)
        return round((sum(map(used, leaders)) - before) / seconds, 2)


def used(leader: int) -> float:
    """Seconds of processor time that the processes of a session have used."""
    ticks = 0
    for pid in session(leader):
        with suppress(FileNotFoundError, ProcessLookupError):
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def autogroup() -> bool:
    """Whether the scheduler divides the processors among sessions first."""
    file = Path("/proc/sys/kernel/sched_autogroup_enabled")
    return file.exists() and file.read_text().strip() == "1"
