"""The session for a GPU, rehearsed on the CPU as it would run on a machine that has never heard of Django."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.gpu_session.__main__ import ROOT, STEPS, Step, failed, run
from benchmarks.gpu_session.findings import GOING_ON

ABSENT = ("django", "pytest", "llguidance", "msgspec", "redis", "gguf")  # on such a machine
UNABLE = {  # what a rehearsal cannot do
    "machine": {"device"},
    "equality": {"tiny in bfloat16", "tiny gemma2 in bfloat16", "small in float32", "small in bfloat16"},
    "graphs": {"a replayed step is an eager one"},
}


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which those packages cannot be imported."""
    folder = tmp_path_factory.mktemp("absent")
    for name in ABSENT:
        (folder / f"{name}.py").write_text(f"raise ImportError('there is no {name} here')\n")
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.mark.timeout(600)  # half a minute of processor time, which others may want too
def test_the_whole_session_is_rehearsed(bare: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_session", "--rehearse", "--out", str(tmp_path)]
    done = subprocess.run(command, check=False, cwd=ROOT, env=bare, capture_output=True, text=True)
    session = json.loads((tmp_path / "session.json").read_text())
    steps = session["steps"]
    assert (done.returncode, list(steps)) == (0, [step.name for step in STEPS]), done.stdout
    for name, found in steps.items():
        assert found["ended"] == "done"
        assert {case for case, one in found["cases"].items() if one["ok"] is None} == UNABLE.get(name, set())
        assert (tmp_path / f"{name}.log").exists()
    assert steps["equality"]["cases"]["tiny in float32"]["operations"] == "CudaOps"
    assert steps["equality"]["cases"]["tiny in float32"]["equal"] == 2
    assert steps["speed"]["cases"]["2 streams"]["share"] > 0
    assert steps["generate"]["cases"]["2 streams"]["tokens_per_second"] > 0


def test_without_a_device_every_step_says_why(bare: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_session", "--steps", "kernels"]
    hidden = bare | {"OUT": str(tmp_path), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, check=False, cwd=ROOT, env=hidden, capture_output=True, text=True)
    case = json.loads((tmp_path / "session.json").read_text())["steps"]["kernels"]["cases"]["all of it"]
    assert (case["ok"], case["why"]) == (None, "torch sees no CUDA device; --rehearse runs it on the CPU")
    assert "cannot run: torch sees no CUDA device" in done.stdout


def test_a_case_that_ends_its_process_costs_no_other(tmp_path: Path) -> None:
    options = argparse.Namespace(out=tmp_path, rehearse=True)
    found = run(Step("dying_step", 40, "tests.benchmarks"), options, time.monotonic() + 40)
    cases = {name: (case["ok"], case.get("why")) for name, case in found["cases"].items()}
    assert cases == {
        "first": (True, None),
        "killed": (False, GOING_ON),
        "failing": (False, "ValueError: no such kernel"),
        "unable": (None, "not here"),
        "endless": (False, GOING_ON),
    }
    assert (found["cases"]["first"]["rate"], found["ended"], failed(found)) == (1.5, "out of time", True)


def test_a_step_for_which_no_time_is_left_is_not_begun(tmp_path: Path) -> None:
    found = run(Step("machine", 40), argparse.Namespace(out=tmp_path, rehearse=True), time.monotonic() + 1)
    assert (found["ended"], found["cases"], failed(found)) == ("not begun, for lack of time", {}, True)
