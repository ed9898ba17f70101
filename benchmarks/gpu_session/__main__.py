"""Runs the steps one after another: ``python -m benchmarks.gpu_session [--out FOLDER] [--rehearse]``.

FOLDER (``$OUT`` where that is set) gets ``session.json``, written anew after every step, and per step its own JSON and
log. The status is 0 where nothing failed; what could not run says why.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_session.findings import BROKEN, write_json

ROOT = Path(__file__).parent.parent.parent
LEAST = 5  # seconds, below which a step is not begun
PATIENCE = 4  # times a step's limit in a rehearsal: minutes of a CPU are not scarce


@dataclass(frozen=True, slots=True)
class Step:
    """A module ``name`` of ``package``. seconds: most that it may take, all its processes together."""

    name: str
    seconds: float
    package: str = "benchmarks.gpu_session"


STEPS = (  # the most important first
    Step("machine", 30),
    Step("kernels", 150),
    Step("equality", 100),
    Step("graphs", 60),
    Step("speed", 180),
    Step("generate", 90),
    Step("memory", 60),
)


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    session: dict[str, Any] = {"rehearsed": options.rehearse, "steps": {}}
    for step in STEPS:
        if step.name in options.steps:
            session["steps"][step.name] = found = run(step, options, end)
            write_json(options.out / "session.json", session)
            print(f"{step.name}: {summary(found)}", flush=True)
    sys.exit(any(failed(found) for found in session["steps"].values()))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "var/gpu-session")))
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, with tiny shapes")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all of it")
    parser.add_argument("--steps", type=lambda text: text.split(","), default=[step.name for step in STEPS])
    options = parser.parse_args()
    if unknown := set(options.steps) - {step.name for step in STEPS}:
        parser.error(f"no step {', '.join(sorted(unknown))}")
    return options


def run(step: Step, options: argparse.Namespace, end: float) -> dict[str, Any]:
    """A step's cases and how it ended. A process that dies is followed by another, which goes on with the next case."""
    began, file = time.monotonic(), options.out.resolve() / f"{step.name}.json"
    file.unlink(missing_ok=True)
    limit = step.seconds * (PATIENCE if options.rehearse else 1)
    last, ended = min(end, began + limit), "not begun, for lack of time"
    with (options.out / f"{step.name}.log").open("wb") as log:
        while last - time.monotonic() >= LEAST:
            known = len(cases_in(file))
            ended = _process(step, options, file, log, last - time.monotonic())
            if ended in ("done", "out of time") or len(cases_in(file)) == known:
                break
    return {"ended": ended, "seconds": round(time.monotonic() - began, 1), "cases": cases_in(file)}


def _process(step: Step, options: argparse.Namespace, file: Path, log: Any, seconds: float) -> str:
    command = [sys.executable, "-m", f"{step.package}.{step.name}", str(file)]
    command += ["--rehearse"] * options.rehearse
    environment = os.environ | ({"TRITON_INTERPRET": "1"} if options.rehearse else {})
    child = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        status = child.wait(seconds)
    except subprocess.TimeoutExpired:
        return "out of time"
    finally:
        _end(child)
    if status == 0:
        return "done"
    return "the device failed" if status == BROKEN else f"with status {status}; see {step.name}.log"


def _end(child: subprocess.Popen[bytes]) -> None:
    """With all that it started, which are its process group."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def cases_in(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return found


def failed(found: dict[str, Any]) -> bool:
    return found["ended"] != "done" or any(case["ok"] is False for case in found["cases"].values())


def summary(found: dict[str, Any]) -> str:
    cases = found["cases"]
    wrong = [f"\n  {name}: {case.get('why', case)}" for name, case in cases.items() if case["ok"] is False]
    unable = [f"\n  {name}: cannot run: {case['why']}" for name, case in cases.items() if case["ok"] is None]
    right = sum(bool(case["ok"]) for case in cases.values())
    return f"{right} of {len(cases)} well, {found['ended']}, {found['seconds']} s" + "".join([*wrong, *unable])


if __name__ == "__main__":
    main()
