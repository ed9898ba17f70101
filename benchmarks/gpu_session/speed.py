"""Tokens per second at 1, 32 and 256 streams on the shape of an 8B model, as a share of the roofline."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks import roofline
from benchmarks.figures import Answer, rate, steady_rate
from benchmarks.gpu_session.findings import Figures, Findings, Setting, run_step
from benchmarks.loads import Lengths, streams
from benchmarks.models import FOLDER, SHAPES, config_of, find_model
from benchmarks.peers.base import Drive, Engine, Spec

STREAMS, REHEARSED_STREAMS = (1, 32, 256), (1, 2)
LIMIT = 60.0  # seconds of a wave
MODEL = "llama-3.1-8b-shape"


def step(setting: Setting, findings: Findings) -> None:
    findings.attempt("the model", partial(_build, setting))
    findings.attempt("the machine", partial(_roofline, setting))
    measure(setting, findings, "ours")


def _build(setting: Setting) -> Figures:
    """On the device, since a CPU takes minutes; then its files are written."""
    return {"folder": find_model(model(setting), setting.device.type).name}


def model(setting: Setting) -> str:
    return "demo" if setting.rehearse else MODEL


def folder(setting: Setting) -> Path:
    return find_model("demo") if setting.rehearse else FOLDER / MODEL


def _roofline(setting: Setting) -> Figures:
    if setting.rehearse:  # small arrays, so figures of nothing
        roofline.CPU_BYTES, roofline.CPU_PRODUCT, roofline.TRIALS = 1 << 22, (32, 64), 2
    return {"rates": roofline.measure(setting.device.type, torch.get_num_threads())}


def measure(setting: Setting, findings: Findings, name: str) -> None:
    """Each number of streams as a case, the engine being made in the first that needs it."""
    engines: list[Engine] = []
    for count in REHEARSED_STREAMS if setting.rehearse else STREAMS:
        findings.attempt(f"{count} streams", partial(_streams, setting, findings, name, count, engines))
    findings.attempt("the engine", lambda: _engine(setting, name, engines).facts())


def _streams(setting: Setting, findings: Findings, name: str, count: int, engines: list[Engine]) -> Figures:
    """A wave to warm up, and one that counts: prompts that share nothing, answers of one length."""
    lengths = _lengths(setting)
    case, engine = streams(lengths, count), _engine(setting, name, engines)
    played = [_play(engine, case.waves(number)[0]) for number in (0, 1)][1]
    # Every answer ends a step before the first one does at the earliest: the whole rate counts the prompts too.
    found = {"tokens_per_second": rate([played]), "steady_tokens_per_second": steady_rate([played])}
    machine = findings.cases.get("the machine", {}).get("rates") or _kept_rates(setting)
    if not machine:
        return found
    context = lengths.prompt + lengths.output // 2
    shape = roofline.Shape.of(config_of(folder(setting)))
    most = shape.tokens_per_second(machine, "bfloat16", count, context, 0)
    return found | {"roofline": most, "share": found["steady_tokens_per_second"] / most}


def _kept_rates(setting: Setting) -> dict[str, float]:
    """As the step that measured them left them; nothing where it did not come so far."""
    found = Findings(setting.out / "speed.json").cases.get("the machine", {})
    rates: dict[str, float] = found.get("rates", {})
    return rates


def _lengths(setting: Setting) -> Lengths:
    vocabulary = SHAPES[MODEL]["vocab_size"] if not setting.rehearse else 256
    return Lengths(0, 8, 4, vocabulary) if setting.rehearse else Lengths(0, 128, 96, vocabulary)


def _play(engine: Engine, asks: list[Any]) -> dict[str, Answer]:
    played = Drive(engine, asks, LIMIT).play()["answers"]
    return {name: Answer(**answer) for name, answer in played.items()}


def _engine(setting: Setting, name: str, engines: list[Engine]) -> Engine:
    if not engines:
        began = time.perf_counter()
        options = {"max_batched_tokens": 2048} if name == "ours" and not setting.rehearse else {}
        most = max(REHEARSED_STREAMS if setting.rehearse else STREAMS)
        spec = Spec(str(folder(setting)), setting.device.type, torch.get_num_threads(), most, 512, options=options)
        build: Callable[[Spec], Engine] = import_module(f"benchmarks.peers.{name}").build
        engines.append(build(spec))
        print(f"{name}: loaded in {time.perf_counter() - began:.1f} s", flush=True)
    return engines[0]


if __name__ == "__main__":
    run_step(step)
