"""Memory of the model of ``speed``: at the peak of loading and once loaded, then with the cache and graphs full."""

from __future__ import annotations

import resource
from functools import partial

import torch

from benchmarks.gpu_session.engines import answers
from benchmarks.gpu_session.findings import Figures, Findings, Setting, run_step
from benchmarks.gpu_session.speed import STREAMS, folder
from inference.engine import EngineConfig, LLMEngine, model_runner

MOST_AT_LOAD = 1.15  # of the weights' files; a layer and what checks it lie beside them


def step(setting: Setting, findings: Findings) -> None:
    findings.attempt("loading", partial(_loading, setting))
    findings.attempt("serving", partial(_serving, setting))


def _loading(setting: Setting) -> Figures:
    stored = sum(file.stat().st_size for file in folder(setting).glob("*.safetensors"))
    config = EngineConfig(model=str(folder(setting)), device=setting.device.type)
    held = model_runner.load_model(folder(setting), config, lambda share, detail: None)
    found = {"stored": stored, "model": held[1].name, "host_peak": _host_peak()}
    if setting.rehearse:
        return found
    peak, kept = torch.cuda.max_memory_allocated(), torch.cuda.memory_allocated()
    return found | {"ok": peak < MOST_AT_LOAD * stored, "peak": peak, "kept": kept}


def _serving(setting: Setting) -> Figures:
    """As many answers as streams are measured, from an engine that took its share of all memory."""
    streams = 2 if setting.rehearse else max(STREAMS)
    config = EngineConfig(
        model=str(folder(setting)),
        device=setting.device.type,
        max_num_seqs=streams,
        max_batched_tokens=16 if setting.rehearse else 2048,
        num_kv_blocks=64 if setting.rehearse else None,
    )
    engine = LLMEngine(config)
    prompts = [[20 + number % 200] * (8 if setting.rehearse else 256) for number in range(streams)]
    answers(engine, prompts, 4 if setting.rehearse else 16)
    counters = engine.counters()
    found = {"ok": not counters["failed_steps"], "counters": counters, "host_peak": _host_peak()}
    if setting.rehearse:
        return found
    free, total = torch.cuda.mem_get_info()
    held = {"reserved": torch.cuda.memory_reserved(), "peak": torch.cuda.max_memory_allocated()}
    return found | held | {"free": free, "total": total}


def _host_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    run_step(step)
