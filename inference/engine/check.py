"""What a model is, how the engine computes it, how exactly and how fast: ``python -m inference.engine.check MODEL``.

MODEL is a folder, a GGUF file, a name on the model hub, or ``demo``. Status 1, and the reason, where the model is
refused or float32 differs from transformers by more than rounding explains.
"""

from __future__ import annotations

import argparse
import logging
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..demo import MODEL_PATH
from ..errors import EngineError, ModelError
from ..gguf_header import is_gguf, read_header
from .config import WEIGHTS, EngineConfig
from .hub import resolve_model
from .llm_engine import LLMEngine
from .loader import read_json
from .model_runner import load_with
from .models.checking import relative_difference
from .models.decoder import Decoder, check_tensors
from .models.families import DecoderConfig, read_config
from .models.rope import NotKnown
from .models.tensors import Tensors
from .ops import Model, Ops
from .sampling_params import SamplingParams
from .sequence import Chunk, lone_sequence

STREAMS = (1, 16)
PROMPT, ANSWER = 16, 64  # tokens of each, for the speed
LONGEST_TEXT, BLOCK = 256, 16
GIGABYTE = 1e9
UNKNOWN = "not stated in its files"
TEXT = (
    "A lighthouse keeper writes down what he sees each evening: the weather, the ships that pass, how long the lamp "
    "burned. On the 3rd of March, 1897, the wind rose to 48 knots and a barque lost two of its sails. He lit the lamp "
    "at half past five, an hour before dark, and did not sleep. By morning the sea was calm, the ship had found the "
    "harbour, and its captain sent him a letter: 'We steered by your light alone. Thank you.' He kept it in the book."
)


@dataclass(frozen=True, slots=True)
class Exactness:
    """difference: largest of two logits in float32, ours and transformers'. relative: of whole rows, the median.
    top1: share of positions at which the weights that are served find the token likeliest that float32 does.
    """

    difference: float
    relative: float
    tolerance: float
    top1: float
    positions: int

    @property
    def holds(self) -> bool:
        return self.relative <= self.tolerance


def main(arguments: Sequence[str] | None = None) -> int:
    """The process's exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    parser = argparse.ArgumentParser(
        prog="python -m inference.engine.check", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("model", help="a folder, a GGUF file, a name on the model hub, or demo")
    parser.add_argument("--weights", choices=WEIGHTS, default="auto", help="as CHATAPP_WEIGHTS")
    parser.add_argument("--device", default="auto", help="as CHATAPP_DEVICE")
    parser.add_argument(
        "--no-reference", action="store_true", help="leave out float32, which takes 4 bytes of memory for each weight"
    )
    options = parser.parse_args(arguments)
    model = str(MODEL_PATH) if options.model == "demo" else options.model
    try:
        return _check(model, EngineConfig(model=model, weights=options.weights, device=options.device), options)
    except (ModelError, EngineError, ValueError, OSError) as reason:
        print(f"{options.model} cannot be served: {reason}", file=sys.stderr)
        return 1


def _check(model: str, config: EngineConfig, options: argparse.Namespace) -> int:
    path = resolve_model(model, lambda share, detail: None)
    _print("model", options.model)
    engine = LLMEngine(replace(config, model=str(path)))
    loaded = resident_bytes()
    for label, value in (*identity(Path(model), path, engine), ("computed by", computed_by(path, engine.runner.model))):
        _print(label, value)
    _print("with", engine.runner.backend.description)
    _print("sampling", ", ".join(f"{name} {value}" for name, value in engine.default_sampling.items()))
    for streams in STREAMS:
        _print(f"{streams} stream{'s' * (streams > 1)}", f"{speed(engine, streams):.1f} tokens/s")
    _print("memory", f"{_megabytes(loaded)} once loaded, {_megabytes(peak_bytes())} at most until here")
    if options.no_reference:
        return 0
    found = exactness(path, engine)
    _print(
        "float32", f"logits differ from transformers' by at most {found.difference:.2g} ({found.relative:.1g} of a row)"
    )
    _print("as served", f"the likeliest token is float32's in {found.top1:.1%} of {found.positions} positions")
    if not found.holds:
        print(f"That is more than rounding explains ({found.tolerance:.1g}).", file=sys.stderr)
    return 0 if found.holds else 1


def identity(source: Path, path: Path, engine: LLMEngine) -> Iterator[tuple[str, str]]:
    """``source`` is what was named, ``path`` the folder it became."""
    model, config = engine.runner.model, read_json(path / "config.json")
    files = sum(file.stat().st_size for file in path.glob("*.safetensors"))
    yield "family", f"{config.get('model_type')} ({model.name})"
    origin = f", from {_megabytes(source.stat().st_size)} of GGUF" if source.is_file() else ""
    yield "size", f"{len(model.shapes)} layers, {model.num_weights:,} weights, {_megabytes(files)} on disk{origin}"
    yield "context", f"{engine.context_length:,} tokens"
    yield "revision", engine.revision
    yield "licence", licence(source, path)


def licence(source: Path, path: Path) -> str:
    """What a GGUF file says, the head of a model card, or the first line of a file LICENSE."""
    for file in [source] if source.is_file() else sorted(source.glob("*.gguf"))[:1]:
        if is_gguf(file) and (stated := read_header(file).values.get("general.license")):
            return str(stated)
    card, text = path / "README.md", path / "LICENSE"
    if card.exists() and (found := re.match(r"---\n(?:.*\n)*?license:\s*(\S+)", card.read_text(errors="replace"))):
        return found[1]
    lines = text.read_text(errors="replace").split("\n") if text.exists() else []
    return next((line.strip() for line in lines if line.strip()), UNKNOWN)


def computed_by(path: Path, model: Model) -> str:
    if isinstance(model, Decoder):
        return f"our decoder: {', '.join(recognised(model.config))}"
    try:
        check_tensors(read_config(read_json(path / "config.json")), Tensors(path))
    except NotKnown as reason:
        return f"transformers' own code, since our decoder does not: {reason}"
    return "transformers' own code"


def recognised(config: DecoderConfig) -> list[str]:
    """A decoder's flags in words, those that differ from a plain Llama's only where they do."""
    windows = Counter(window for window in config.windows if window)
    flags = {
        "biases of " + ", ".join(_biases(config)): bool(_biases(config)),
        f"norms of each {config.head_norms} of queries and keys": config.head_norms,
        f"scores capped at {config.softcap}": config.softcap,
        f"logits capped at {config.logit_softcap}": config.logit_softcap,
        f"embeddings times {config.embedding_scale:.4g}": config.embedding_scale != 1.0,
        f"residuals times {config.residual_scale:.4g}": config.residual_scale != 1.0,
        f"logits divided by {config.logit_divisor:.4g}": config.logit_divisor != 1.0,
        "output layer tied to the embeddings": config.tied,
        "fused matrices": config.fused,
    }
    return [
        f"{config.heads} heads of {config.head_dim} over {config.kv_heads} of keys",
        *(f"a window of {window:,} in {count} layers" for window, count in windows.items()),
        *_ropes(config),
        f"norms {config.norms} attention and MLP" + (", weights plus 1" if config.norm_offset else ""),
        config.activation,
        *(words for words, holds in flags.items() if holds),
    ]


def _biases(config: DecoderConfig) -> list[str]:
    parts = {"qkv": config.qkv_bias, "o": config.o_bias, "mlp": config.mlp_bias}
    return [name for name, has in parts.items() if has]


def _ropes(config: DecoderConfig) -> Iterator[str]:
    used = Counter(config.ropes_of)
    for place, rope in enumerate(config.ropes):
        kind, theta = rope.parameters["rope_type"], rope.parameters["rope_theta"]
        yield f"rope {kind} (theta {theta:,.0f}) in {used[place]} layers"
    if used[None]:
        yield f"no rope in {used[None]} layers"


@torch.inference_mode()
def exactness(path: Path, engine: LLMEngine) -> Exactness:
    """On ``TEXT``. Our model in float32 and transformers' are in memory one after the other."""
    from transformers.utils.logging import disable_progress_bar

    from .models.hf import load_module, own_logits  # transformers' modelling code takes 150 MB

    disable_progress_bar()  # type: ignore[no-untyped-call]
    ids = engine.tokenizer.encode(TEXT)[: min(LONGEST_TEXT, engine.context_length - 1)]
    runner, device = engine.runner, torch.device("cpu")
    served = all_logits(runner.backend, runner.model, runner.cache, ids)
    ops = Ops(device, torch.float32)
    model = load_with(ops, path)
    ours = all_logits(ops, model, ops.new_cache(model.shapes, -(-len(ids) // BLOCK), BLOCK), ids)
    del model
    theirs = own_logits(load_module(path, torch.float32, device), ids)
    return Exactness(
        difference=float((ours - theirs).abs().max()),
        relative=float(relative_difference(ours, theirs)),
        tolerance=ops.tolerance,
        top1=float((served.argmax(-1).cpu() == theirs.argmax(-1)).float().mean()),
        positions=len(ids),
    )


@torch.inference_mode()
def all_logits(ops: Ops, model: Model, cache: Any, token_ids: list[int]) -> Tensor:
    """[tokens, vocabulary] in float32, in the first blocks of ``cache``, whose contents are lost."""
    batch = ops.build([Chunk(lone_sequence(token_ids, cache.block_size), 0, len(token_ids))], cache)
    every_row = torch.arange(len(token_ids), device=ops.device)
    return ops.forward(model, replace(batch, logit_rows=every_row)).float().clone()


def speed(engine: LLMEngine, streams: int) -> float:
    """Tokens per second of so many answers at once, their short prompts included."""
    room = engine.context_length - 1
    prompt = min(PROMPT, room)
    params = SamplingParams(temperature=0.0, max_tokens=min(ANSWER, room - prompt + 1), ignore_eos=True)
    ids = engine.tokenizer.encode(TEXT)
    began, tokens = time.perf_counter(), 0
    for number in range(streams):
        # Each its own part of the text, so that nothing of it is cached already.
        own = [ids[(number * 7 + place * (1 + streams)) % len(ids)] for place in range(prompt)]
        engine.add_request(str(number), own, params)
    while engine.has_unfinished:
        outputs = engine.step()
        tokens += sum(len(output.token_ids) for output in outputs)
        if failed := next((output.error for output in outputs if output.finish_reason == "error"), None):
            raise EngineError(failed)
    return tokens / (time.perf_counter() - began)


def resident_bytes() -> int:
    """Of this process now; its peak where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return peak_bytes()
    return pages * resource.getpagesize()


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _megabytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB" if count < GIGABYTE else f"{count / GIGABYTE:,.2f} GB"


def _print(label: str, value: str) -> None:
    print(f"{label:<12} {value}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
