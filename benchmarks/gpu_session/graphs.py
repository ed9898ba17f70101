"""Decode steps as CUDA graphs: replayed against launched one by one, and what happens where one cannot be recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_session.engines import LLAMA, answers, cuda_engine
from benchmarks.gpu_session.findings import CannotRun, Figures, Findings, Setting, run_step
from benchmarks.models import SMOLLM2_135M
from inference.engine.batch import Batch
from inference.engine.cuda.backend import RecordedBatch
from inference.engine.models.checking import relative_difference
from inference.engine.models.decoder import Decoder
from inference.engine.sequence import Chunk, lone_sequence, token_array

CLOSE = 1e-4
TRIALS = 30
PROMPTS = [[20, 21, 22], [40, 41], [60]]


def step(setting: Setting, findings: Findings) -> None:
    findings.attempt("a replayed step is an eager one", partial(_replay, setting))
    findings.attempt("one that cannot be recorded is launched", partial(_fall_back, setting))


@torch.inference_mode()
def _replay(setting: Setting) -> Figures:
    """Logits at sizes that are recorded and between them; and how long a step takes either way."""
    if setting.rehearse:
        raise CannotRun("there are no CUDA graphs without a device")
    folder = setting.model(SMOLLM2_135M, "small")
    engine = cuda_engine(setting, folder, weights="bfloat16", max_num_seqs=32)
    ops, model, cache = engine.runner.backend, engine.runner.model, engine.runner.cache
    found: dict[str, Any] = {}
    for count in (1, 3, 8, 20, 32):
        batch = ops.build(decodes(count), cache)
        if not isinstance(batch, RecordedBatch):
            return {"ok": False, "why": f"no graph for {count} sequences"}
        replayed = ops.forward(model, batch).clone()
        eager = ops._run(model, batch)[:count]  # type: ignore[attr-defined]
        found[str(count)] = {
            "difference": float(relative_difference(replayed, eager)),
            "replayed_ms": _milliseconds(partial(ops.forward, model, batch)),
            "eager_ms": _milliseconds(partial(ops._run, model, batch)),  # type: ignore[attr-defined]
        }
    return {"ok": all(one["difference"] < CLOSE for one in found.values()), "sequences": found}


def decodes(count: int) -> list[Chunk]:
    """Steps of sequences of unlike lengths, each with blocks of its own."""
    chunks = []
    for number in range(count):
        length = 2 + 3 * number
        seq = lone_sequence([9 + number] * length, 16)
        seq.block_table = token_array(range(8 * number, 8 * number + 8))
        chunks.append(Chunk(seq, length - 1, 1))
    return chunks


def _milliseconds(work: Callable[[], Any]) -> float:
    work()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(TRIALS):
        work()
    torch.cuda.synchronize()
    return round((time.perf_counter() - began) / TRIALS * 1000, 3)


def _fall_back(setting: Setting) -> Figures:
    """A model that waits for the device in its forward writes the same answers, without graphs."""
    folder, forward, tokens = setting.model(LLAMA, "tiny"), Decoder.forward, 2 if setting.rehearse else 8
    expected = answers(cuda_engine(setting, folder), PROMPTS, tokens)

    def waiting(self: Decoder, batch: Batch) -> Tensor:
        logits = forward(self, batch)
        float(logits.sum())  # which a recording must not
        return logits

    Decoder.forward = waiting  # type: ignore[method-assign]
    try:
        engine = cuda_engine(setting, folder)
        found = answers(engine, PROMPTS, tokens)
    finally:
        Decoder.forward = forward  # type: ignore[method-assign]
    graph = engine.runner.backend._graphs.fitting(1)  # type: ignore[attr-defined]
    return {"ok": found == expected and graph is None, "recorded": graph is not None, "equal": found == expected}


if __name__ == "__main__":
    run_step(step)
