"""A step of a GPU session whose second case takes its process with it, and whose fourth never ends."""

import os
import signal
import time

from benchmarks.gpu_session.findings import CannotRun, Figures, Findings, Setting, run_step


def killed() -> Figures:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def failing() -> Figures:
    raise ValueError("no such kernel")


def unable() -> Figures:
    raise CannotRun("not here")


def endless() -> Figures:
    time.sleep(600)
    return {}


def step(setting: Setting, findings: Findings) -> None:
    findings.attempt("first", lambda: {"rate": 1.5})
    for case in (killed, failing, unable, endless):
        findings.attempt(case.__name__, case)


if __name__ == "__main__":
    run_step(step)
