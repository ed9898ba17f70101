"""One engine in a process of its own: ``python -m benchmarks.peers.host``.

Reads JSON lines: first ``{"engine": name, "spec": {...}}``, then ``{"waves": [[ask, ...], ...], "limit": seconds}``
for each round. Answers each with a line. All else that is printed goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from typing import IO, Any

from benchmarks.loads import Ask
from benchmarks.peers.base import Drive, Engine, Spec, die_with_parent


def main() -> None:
    die_with_parent()
    with private_stdout() as out:
        first = json.loads(sys.stdin.readline())
        engine: Engine = import_module(f"benchmarks.peers.{first['engine']}").build(Spec(**first["spec"]))
        reply(out, {"facts": engine.facts()})
        try:
            for line in sys.stdin:
                reply(out, play(engine, **json.loads(line)))
        finally:
            engine.close()


def private_stdout() -> IO[str]:
    """Standard output for us alone: libraries print there."""
    private = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return private


def play(engine: Engine, waves: list[list[dict[str, Any]]], limit: float) -> dict[str, Any]:
    answers = [Drive(engine, [Ask(**ask) for ask in wave], limit).play()["answers"] for wave in waves]
    return {"waves": answers, "facts": engine.facts()}


def reply(out: IO[str], message: dict[str, Any]) -> None:
    print(json.dumps(message), file=out, flush=True)


if __name__ == "__main__":
    main()
