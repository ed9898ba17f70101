"""The benchmark's side of an engine's process: asks over its pipes, and stops it while others are measured."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.figures import Answer
from benchmarks.loads import Ask
from benchmarks.peers.base import Spec

ROOT = Path(__file__).parent.parent.parent
GRACE = 20  # seconds to end by itself


class PeerFailed(Exception):
    """The engine's process ended, with the last lines it wrote."""


class Peer:
    """An engine in a process of its own, which gets processor time only while it is asked."""

    def __init__(
        self, engine: str, spec: Spec, python: str, log: Path, root: Path = ROOT, env: dict[str, str] | None = None
    ) -> None:
        """``root``: the checkout whose code runs; ``env``: what is added to the environment."""
        self._log = log
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [python, "-m", "benchmarks.peers.host"],
                cwd=root,
                env=os.environ | {"OMP_NUM_THREADS": str(spec.threads), "PYTHONPATH": str(root)} | (env or {}),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        self._send({"engine": engine, "spec": asdict(spec)})
        self.facts: dict[str, Any] = self._read()["facts"]
        self._signal(signal.SIGSTOP)

    def play(self, waves: list[list[Ask]], limit: float) -> list[dict[str, Answer]]:
        """The answers of each wave, by name; what had come after ``limit`` seconds of a wave. Raises ``PeerFailed``."""
        self._signal(signal.SIGCONT)
        self._send({"waves": [[asdict(ask) for ask in wave] for wave in waves], "limit": limit})
        reply = self._read()
        self._signal(signal.SIGSTOP)
        self.facts = reply["facts"]
        return [{name: Answer(**answer) for name, answer in wave.items()} for wave in reply["waves"]]

    def peak_bytes(self) -> int:
        """Most memory the engine's processes have held, each at its own peak."""
        return sum(_peak(pid) for pid in session(self._process.pid))

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        assert self._process.stdin
        try:
            self._process.stdin.close()
            self._process.wait(GRACE)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: signal.Signals) -> None:
        for pid in session(self._process.pid):
            os.kill(pid, number)

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            print(json.dumps(message), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            self._fail()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._fail()
        message: dict[str, Any] = json.loads(line)
        return message

    def _fail(self) -> None:
        self.close()
        last = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        raise PeerFailed(" / ".join(last)[-300:])


def session(leader: int) -> list[int]:
    """The processes of a session, from /proc; those that have ended but were not waited for are left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            state, _, _, session = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(entry.name))
    return found


def _peak(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)
