"""The team of threads that the kernels compute with (team.h): right whatever runs when, and held up by nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inference.engine.cpu import library

SOAK = Path(__file__).with_name("team_soak.c")
BUILDS = ["avx512", "avx2"] if library.is_wide() else ["avx2"]


@pytest.fixture(scope="session", params=BUILDS)
def soak(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program of random work; see its own words."""
    flags = library.FLAGS if request.param == "avx512" else library.NARROW_FLAGS
    target = tmp_path_factory.mktemp("soak") / request.param
    build = [flag for flag in flags if flag not in ("-shared", "-fPIC")]
    folder = library.SOURCE.parent
    subprocess.run(["cc", *build, f"-I{folder}", str(SOAK), "-o", str(target), "-lm"], check=True)
    return target


def _run(soak: Path, *words: str) -> tuple[int, int, float]:
    """Stops, evictions, seconds."""
    done = subprocess.run([soak, *words], check=True, capture_output=True, text=True, timeout=300)
    stops, evictions, seconds = done.stdout.split()
    return int(stops), int(evictions), float(seconds)


def test_any_number_of_threads_gives_the_same_bytes(soak: Path) -> None:
    """And threads that hinder more than they help are left out for a while, which ``misjudged`` tries."""
    stops, _, _ = _run(soak, "150")
    assert stops == 0


def test_threads_that_stop_in_a_piece_change_no_byte_and_hold_nobody_up(soak: Path) -> None:
    stops, evictions, seconds = _run(soak, "60", "500", "40")
    assert stops > 20
    assert evictions > 20
    assert seconds < stops * 0.5 / 4


SCRIPT = """
import os, signal, sys, threading
import torch
from inference.engine.cpu import library
from inference.engine.cpu.linear import PackedLinear

torch.set_num_threads(3)
{before}
kernels = library.load()
layer = PackedLinear(kernels, [torch.randn(2048, 512)], None, "int8")
inputs = torch.randn(9, 512)
expected = layer(inputs)
threads = len(os.listdir("/proc/self/task"))
same = lambda: torch.equal(layer(inputs), expected)
{after}
"""


def _python(before: str = "", after: str = "") -> str:
    script = SCRIPT.format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=120)
    return done.stdout.strip()


def test_a_process_ends_with_its_team() -> None:
    assert _python(after="print(same())") == "True"


def test_a_forked_child_gathers_a_team_of_its_own() -> None:
    after = """
child = os.fork()
if not child:
    alone = len(os.listdir("/proc/self/task"))
    right = all(same() for _ in range(200))
    os._exit(0 if right and alone == 1 and len(os.listdir("/proc/self/task")) == 3 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), all(same() for _ in range(200)))
"""
    assert _python(after=after) == "0 True"


def test_several_threads_of_python_compute_side_by_side() -> None:
    after = """
wrong = []
def go():
    wrong.extend(1 for _ in range(300) if not same())
callers = [threading.Thread(target=go) for _ in range(4)]
for each in callers: each.start()
for each in callers: each.join()
print(len(wrong))
"""
    assert _python(after=after) == "0"


def test_a_signal_that_the_program_uses_itself_is_left_to_it() -> None:
    before = "heard = []\nsignal.signal(signal.SIGURG, lambda *_: heard.append(1))"
    after = """
os.kill(os.getpid(), signal.SIGURG)
print(all(same() for _ in range(500)), len(heard), kernels.evictions())
"""
    assert _python(before, after) == "True 1 0"


def test_the_teams_threads_leave_signals_to_the_program() -> None:
    after = """
import time
signal.signal(signal.SIGUSR1, lambda *_: print("main", threading.current_thread() is threading.main_thread()))
os.kill(os.getpid(), signal.SIGUSR1)
blocked = []
for task in os.listdir("/proc/self/task"):
    text = open(f"/proc/self/task/{task}/status").read()
    blocked.append(bool(int(text.split("SigBlk:")[1].split()[0], 16) & 1 << signal.SIGUSR1 - 1))
print(sum(blocked))
"""
    assert _python(after=after) == "main True\n2"
