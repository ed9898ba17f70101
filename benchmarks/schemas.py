"""What it costs to check what comes in: msgspec's types against the checks by hand that they replaced.

The checks by hand are read out of the history, so that both sides run in turn on the same machine.

    python -m benchmarks.schemas [--json FILE]
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import tokenize
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from benchmarks.workload import machine

ROOT = Path(__file__).resolve().parent.parent
BEFORE = {  # files of a commit, under the names that they get in a package of the history's own
    "calls": ("0253bdd", {name: f"chatapp/openai_api/{name}.py" for name in ("schemas", "sampling", "fields")}),
    "frames": ("0253bdd", {"requests": "chatapp/conversations/requests.py"}),
}
NOW = {
    "calls": [f"chatapp/v1/{name}.py" for name in ("schemas", "body", "sampling", "refusals")],
    "frames": ["chatapp/web/frames.py"],
}
HELLO = [{"role": "user", "content": "Hello"}]
ROUNDS = 15
SECONDS = 0.1  # of each side in each round

Parse = Callable[[bytes], Any]


def compare(rounds: int = ROUNDS, seconds: float = SECONDS) -> dict[str, Any]:
    """Microseconds a parse, the best round of each side, and the lines that it takes."""
    with tempfile.TemporaryDirectory() as folder:
        sides = _sides(Path(folder))
        lines = {kind: {"before": _lines(_history(kind).values()), "now": _lines(_today(kind))} for kind in NOW}
    rows = []
    for name, (kind, text) in _loads().items():
        before, now = sides[kind]
        best = _race(text, before, now, rounds, seconds)
        rows.append({"load": name, "bytes": len(text), **best, "ratio": round(best["before_us"] / best["now_us"], 2)})
    return {"lines": lines, "rows": rows}


def _loads() -> dict[str, tuple[str, bytes]]:
    call = {"model": "m", "messages": HELLO, "temperature": 0.7, "max_tokens": 50, "stream": True}
    long = [{"role": ("user", "assistant")[turn % 2], "content": "word " * 60} for turn in range(200)]
    send = {"type": "send", "key": str(uuid.uuid4()), "text": "Hello", "conversation": str(uuid.uuid4()), "ref": 1}
    subscribe = {"type": "subscribe", "message": send["key"], "generation": send["conversation"], "after_seq": 7}
    return {
        "a small call": ("calls", orjson.dumps(call)),
        "a call of 200 messages": ("calls", orjson.dumps({**call, "messages": long})),
        "a call of 200 messages, refused": (
            "calls",
            orjson.dumps({**call, "messages": [*long, {"role": "odd", "content": ""}]}),
        ),
        "send": ("frames", orjson.dumps(send)),
        "subscribe": ("frames", orjson.dumps(subscribe)),
    }


def _race(text: bytes, before: Parse, now: Parse, rounds: int, seconds: float) -> dict[str, float]:
    times: dict[str, list[float]] = {"before_us": [], "now_us": []}
    for _ in range(rounds):
        for name, parse in (("before_us", before), ("now_us", now)):
            times[name].append(_time(parse, text, seconds))
    return {name: round(min(found) * 1e6, 2) for name, found in times.items()}


def _time(parse: Parse, text: bytes, seconds: float) -> float:
    runs, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < seconds:
        for _ in range(10):
            parse(text)
        runs += 10
    return passed / runs


def _sides(folder: Path) -> dict[str, tuple[Parse, Parse]]:
    """How both sides read the bytes of each kind; a refusal counts as read."""
    from chatapp.v1.schemas import parse_call
    from chatapp.web.frames import parse_frame

    old_call = _import(folder, "calls").parse_call
    old_frame = _import(folder, "frames").parse_request
    limits = {"most_tokens": 100, "most_answers": 4}
    return {
        "calls": (
            _or_refusal(lambda text: old_call(text, **limits)),
            _or_refusal(lambda text: parse_call(text, **limits)),
        ),
        "frames": (
            _or_refusal(lambda text: old_frame(orjson.loads(text))),
            _or_refusal(lambda text: parse_frame(text.decode())),
        ),
    }


def _or_refusal(parse: Parse) -> Parse:
    from chatapp.common.errors import BadRequest

    def parsed(text: bytes) -> Any:
        try:
            return parse(text)
        except BadRequest as error:
            return error

    return parsed


def _import(folder: Path, kind: str) -> Any:
    """The history's main module, in a package of its own whose errors are today's."""
    package = folder / f"before_{kind}"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "errors.py").write_text("from chatapp.v1.errors import InvalidCall\n")
    for name, text in _history(kind).items():
        (package / f"{name}.py").write_text(text)
    sys.path.insert(0, str(folder))
    return importlib.import_module(f"{package.name}.{next(iter(BEFORE[kind][1]))}")


def _history(kind: str) -> Mapping[str, str]:
    commit, files = BEFORE[kind]
    shown = {name: ["git", "show", f"{commit}:{path}"] for name, path in files.items()}
    return {name: subprocess.check_output(command, cwd=ROOT, text=True) for name, command in shown.items()}


def _today(kind: str) -> list[str]:
    return [(ROOT / path).read_text() for path in NOW[kind]]


def _lines(texts: Any) -> dict[str, int]:
    return {"all": sum(text.count("\n") for text in texts), "code": sum(map(_code_lines, texts))}


def _code_lines(text: str) -> int:
    """Lines with something of the program on them: no comments, docstrings, blank lines."""
    found: set[int] = set()
    before = tokenize.NEWLINE
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENCODING, tokenize.ENDMARKER)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in skipped:
            continue
        if token.type != tokenize.NEWLINE and not (token.type == tokenize.STRING and before == tokenize.NEWLINE):
            found.update(range(token.start[0], token.end[0] + 1))
        before = token.type
    return len(found)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.schemas")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    figures = compare()
    for row in figures["rows"]:
        print(f"{row['load']:<34} {row['before_us']:>9} us before {row['now_us']:>9} us now   x{row['ratio']}")
    for kind, lines in figures["lines"].items():
        print(f"{kind:<34} {lines['before']['code']:>9} lines {lines['now']['code']:>12} lines of code")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), **figures}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatapp.settings.embedded")
    main(sys.argv[1:])
