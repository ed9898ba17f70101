"""Loads a causal language model and makes sure that our attention computes what the model's own does.

Architectures differ in what they ask of attention, and one that is served wrongly still writes
plausible text. So a model is observed at load: a probe records what each layer passes to its
attention and refuses what we do not implement; then logits through our paged cache, computed in two
chunks, are compared with the model's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel

from ..errors import UnsupportedModel
from .attention import ATTENTION_NAME, Attending, KVCache, LayerShape
from .backend import TorchBackend
from .sequence import Chunk, lone_sequence

PROBE_LENGTH, PROBE_SPLIT, PROBE_BLOCK, PROBE_BLOCKS = 40, 17, 16, 3
LONGEST_PROBED = 4096  # where a model names no limit
HARMLESS = {"dropout", "position_ids", "is_causal", "output_attentions", "use_cache"}
UNFIT = (ValueError, LookupError, AttributeError, RuntimeError)  # what a model's code raises when its parts do not fit
WINDOWED = {"sliding_attention": True, "full_attention": False}


def load_model(path: Path, dtype: torch.dtype, device: torch.device) -> PreTrainedModel:
    """Weights from safetensors only, code from transformers only. Raises ``UnsupportedModel``."""
    if not any(path.glob("*.safetensors")):
        raise UnsupportedModel(f"{path.name} has no *.safetensors weights; other formats can run code when loaded.")
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=ATTENTION_NAME,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except KeyError as error:  # the architecture looks its attention up in a table of its own
        raise UnsupportedModel(f"{_architecture(path)} has its own attention code ({error} is not in it).") from error
    except (ValueError, RuntimeError) as error:
        raise UnsupportedModel(f"{_architecture(path)} cannot be loaded: {_first_line(error)}") from error
    model, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise UnsupportedModel(f"{_architecture(path)} lacks {len(missing)} of its weights, {missing[0]} for one.")
    placed: PreTrainedModel = model.to(device).eval()
    return placed


def _first_line(error: Exception) -> str:
    """transformers lists every class it knows behind it."""
    return str(error).split("\n", 1)[0][:300]


def _architecture(path: Path) -> str:
    config = json.loads((path / "config.json").read_text())
    return str((config.get("architectures") or [config.get("model_type", path.name)])[0])


def context_limit(config: Any) -> int | None:
    """Longest sequence the positions are good for, ``None`` when the configuration names none.

    RoPE scalings that depend on the longest sequence at hand would let sequences of one batch change
    each other; below the original length they all agree.
    """
    rope = getattr(config, "rope_parameters", None) or {}
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if rope.get("rope_type") in ("dynamic", "longrope"):
        limit = rope.get("original_max_position_embeddings") or limit
    return limit


@torch.inference_mode()
def inspect_layers(model: PreTrainedModel) -> dict[int, LayerShape]:
    """What each layer asks for, as observed. Raises ``UnsupportedModel`` naming the architecture."""
    name = type(model).__name__
    if not model._supports_attention_backend:
        raise UnsupportedModel(f"{name} has its own attention code, which a paged KV cache cannot replace.")
    probe = _Probe(name)
    ids = torch.arange(2, device=model.device).unsqueeze(0)
    try:
        with _refusing(name):
            model(input_ids=ids, position_ids=ids, use_cache=False, paged=probe)
    except TypeError as error:
        raise UnsupportedModel(f"{name} does not pass arguments on to its attention: {error}") from error
    _check_layers(name, model.config.get_text_config(), probe)
    return probe.shapes


@dataclass(slots=True)
class _Probe:
    """An attention context that notes what is asked of it and answers zeros."""

    name: str
    shapes: dict[int, LayerShape] = field(default_factory=dict)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: Attending) -> Tensor:
        asked = {name for name, setting in how.others.items() if setting is not None and setting is not False}
        unknown = sorted(asked - HARMLESS)
        if how.mask is not None or how.others.get("is_causal") is False:
            unknown.append("a mask of its own")
        if unknown:
            asked_for = ", ".join(unknown)
            raise UnsupportedModel(f"{self.name} asks attention for {asked_for}, which is not implemented.")
        if layer in self.shapes:
            raise UnsupportedModel(f"{self.name} attends twice in layer {layer}.")
        self.shapes[layer] = LayerShape(key.shape[1], key.shape[2], value.shape[2], how)
        return query.new_zeros(*query.shape[:2], value.shape[-1])


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Say which model it is whose parts do not fit."""
    try:
        yield
    except UNFIT as error:
        raise UnsupportedModel(f"{name} cannot compute a prompt: {_first_line(error)}") from error


def _check_layers(name: str, config: Any, probe: _Probe) -> None:
    if sorted(probe.shapes) != list(range(config.num_hidden_layers)):
        raise UnsupportedModel(
            f"{name} has {config.num_hidden_layers} layers, of which {len(probe.shapes)} attend through the "
            "KV cache: layers that keep another state (recurrent, linear attention) are not implemented."
        )
    for layer, kind in enumerate(getattr(config, "layer_types", None) or []):
        if WINDOWED.get(kind) is not (probe.shapes[layer].how.window is not None):
            raise UnsupportedModel(f"{name} has a layer of type {kind}, which is not implemented.")


@torch.inference_mode()
def verify(model: PreTrainedModel, shapes: dict[int, LayerShape], backend: TorchBackend) -> None:
    """Let ``backend`` adopt the model, and compare with what the model computed by itself before.

    Raises ``UnsupportedModel`` when they disagree.
    """
    with _refusing(type(model).__name__):
        reference = _own_logits(model)
        mapped = _bytes_on_cpu(model)
        backend.adopt(model, shapes)
        if _bytes_on_cpu(model) < mapped / 2:
            _let_go_of_files(model)
        error = (_paged_logits(model, shapes, backend) - reference).norm(dim=-1) / reference.norm(dim=-1)
    # The median, because in a mixture of experts a rounding error may send a token to another expert.
    if not bool(error.median() <= backend.tolerance):
        raise UnsupportedModel(
            f"{type(model).__name__} computes something else through the paged KV cache than by itself "
            f"(relative difference {float(error.median()):.2g}): its attention is not implemented."
        )


def _bytes_on_cpu(model: PreTrainedModel) -> int:
    return sum(weight.nbytes for weight in model.parameters() if weight.device.type == "cpu")


def _let_go_of_files(model: PreTrainedModel) -> None:
    """Copy the weights that the backend has left as they were.

    They lie in the mapped file, and the last of them would keep all of it in memory: those too whose packed copies
    are what the model computes with.
    """
    for weight in model.parameters():
        weight.data = weight.data.clone()


def _probe_ids(model: PreTrainedModel) -> list[int]:
    vocabulary = model.config.get_text_config().vocab_size
    return [(number * 7919 + 13) % vocabulary for number in range(PROBE_LENGTH)]


def _own_logits(model: PreTrainedModel) -> Tensor:
    ids = torch.tensor([_probe_ids(model)], device=model.device)
    model.set_attn_implementation("eager")
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
    finally:
        model.set_attn_implementation(ATTENTION_NAME)
    return logits.float()


def _paged_logits(model: PreTrainedModel, shapes: dict[int, LayerShape], backend: TorchBackend) -> Tensor:
    """All logits, computed in two chunks."""
    seq = lone_sequence(_probe_ids(model), PROBE_BLOCK)
    cache = backend.new_cache(shapes, PROBE_BLOCKS, PROBE_BLOCK)
    pieces = [Chunk(seq, 0, PROBE_SPLIT), Chunk(seq, PROBE_SPLIT, PROBE_LENGTH - PROBE_SPLIT)]
    logits = []
    for piece in pieces:
        batch = backend.build([piece], cache)
        every_row = torch.arange(piece.length, device=backend.device)
        logits.append(backend.forward(model, replace(batch, logit_rows=every_row)))
    return torch.cat(logits).float()


@torch.inference_mode()
def run_far(model: PreTrainedModel, backend: TorchBackend, cache: KVCache) -> None:
    """Compute a few tokens over the whole context: some models scale what lies far out.

    ``cache`` has ``PROBE_BLOCKS`` blocks of ``PROBE_BLOCK`` tokens.
    """
    batch = backend.build([Chunk(lone_sequence(_probe_ids(model), PROBE_BLOCK), 0, PROBE_SPLIT)], cache)
    furthest = (context_limit(model.config.get_text_config()) or LONGEST_PROBED) - 1
    positions = torch.linspace(0, furthest, PROBE_SPLIT, device=backend.device).long()
    backend.forward(model, replace(batch, position_ids=positions.unsqueeze(0)))
