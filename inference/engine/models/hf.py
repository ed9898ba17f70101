"""Every architecture that ``decoder`` does not compute, as transformers does, through its ``AttentionInterface``.

Architectures differ in what they ask of attention, and one that is served wrongly still writes
plausible text. So a model is observed at load: a probe records what each layer passes to its
attention and refuses what we do not implement; then logits through our paged cache, computed in
chunks and as decodes, are compared with the model's own. The name is left out of transformers' mask
registry, which makes it build no masks: what a token may see follows from the block tables.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D

from ...errors import UnsupportedModel
from ..attention import Attending, AttentionContext, LayerShape
from ..batch import Batch
from ..ops import Linear, Ops
from ..sequence import Chunk, lone_sequence
from .checking import KernelMismatch, failures_of, relative_difference

ATTENTION_NAME = "chatapp_paged"
PROBE_LENGTH, PROBE_BLOCK, PROBE_BLOCKS = 40, 16, 3
PROBE_CHUNKS = (17, 20, 1, 1, 1)
HARMLESS = {"dropout", "position_ids", "is_causal", "output_attentions", "use_cache"}
UNFIT = (ValueError, LookupError, AttributeError, RuntimeError)  # what a model's code raises when its parts do not fit
WINDOWED = {"sliding_attention": True, "full_attention": False}


def paged_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    *,
    paged: AttentionContext | _Probe,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """transformers' signature: ``query`` [1, heads, T, D] -> [1, T, heads, D], and no weights."""
    how = Attending(query.shape[-1] ** -0.5 if scaling is None else scaling, sliding_window, softcap)
    q, k, v = query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1)
    if isinstance(paged, _Probe):
        paged.note(module.layer_idx, k, v, how, attention_mask, others)
        return query.new_zeros(1, *q.shape[:2], v.shape[-1]), None
    return paged.attend(module.layer_idx, q, k, v, how).unsqueeze(0), None


AttentionInterface.register(ATTENTION_NAME, paged_attention)


class HfModel:
    """The model in ``path`` with its weights in ``ops``' type. Raises ``UnsupportedModel`` naming the architecture, and
    ``KernelMismatch`` where plain torch may do better.
    """

    @torch.inference_mode()
    def __init__(self, path: Path, ops: Ops) -> None:
        self.module = load_module(path, ops.dtype, ops.device)
        self.name = type(self.module).__name__
        config = self.module.config.get_text_config()
        self.vocab_size = int(config.vocab_size)
        self.context_limit = _context_limit(config)
        self.shapes = _inspect_layers(self.module)
        with _refusing(self.name):
            reference = own_logits(self.module, _probe_ids(self.module))
            _replace_linears(self.module, ops, self.context_limit)
            ops.loaded()
            with failures_of(ops, self.name):
                error = float(relative_difference(_paged_logits(self, ops), reference))
        if not error <= ops.tolerance:
            if type(ops) is not Ops:
                raise KernelMismatch(f"{self.name} differs by {error:.2g}")
            raise UnsupportedModel(
                f"{self.name} computes something else through the paged KV cache than by itself "
                f"(relative difference {error:.2g}): its attention is not implemented."
            )

    @property
    def num_weights(self) -> int:
        return sum(weight.numel() for weight in self.module.parameters())

    def forward(self, batch: Batch) -> Tensor:
        """Logits [rows of ``batch.logit_rows``, vocabulary]."""
        logits: Tensor = self.module(
            input_ids=batch.token_ids.unsqueeze(0),
            position_ids=batch.positions.unsqueeze(0),
            use_cache=False,
            logits_to_keep=batch.logit_rows,
            paged=batch.context,
        ).logits[0]
        return logits


def load_module(path: Path, dtype: torch.dtype, device: torch.device) -> Any:
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
    return model.to(device).eval()


def _first_line(error: Exception) -> str:
    """transformers lists every class it knows behind it."""
    return str(error).split("\n", 1)[0][:300]


def _architecture(path: Path) -> str:
    config = json.loads((path / "config.json").read_text())
    return str((config.get("architectures") or [config.get("model_type", path.name)])[0])


def _context_limit(config: Any) -> int | None:
    """As ``rope._limit``."""
    rope = getattr(config, "rope_parameters", None) or {}
    limit: int | None = getattr(config, "max_position_embeddings", None)
    if rope.get("rope_type") in ("dynamic", "longrope"):
        limit = rope.get("original_max_position_embeddings") or limit
    return limit


def _inspect_layers(model: Any) -> dict[int, LayerShape]:
    """What each layer asks for, as observed."""
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
    _check_layers(name, model.config.get_text_config(), probe.shapes)
    return probe.shapes


@dataclass(slots=True)
class _Probe:
    """Stands where a step's context does, and notes what is asked of it."""

    name: str
    shapes: dict[int, LayerShape] = field(default_factory=dict)

    def note(
        self, layer: int, key: Tensor, value: Tensor, how: Attending, mask: Tensor | None, others: dict[str, Any]
    ) -> None:
        asked = {name for name, setting in others.items() if setting is not None and setting is not False}
        unknown = sorted(asked - HARMLESS)
        if mask is not None or others.get("is_causal") is False:
            unknown.append("a mask of its own")
        if unknown:
            asked_for = ", ".join(unknown)
            raise UnsupportedModel(f"{self.name} asks attention for {asked_for}, which is not implemented.")
        if layer in self.shapes:
            raise UnsupportedModel(f"{self.name} attends twice in layer {layer}.")
        self.shapes[layer] = LayerShape(key.shape[1], key.shape[2], value.shape[2], how)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Say which model it is whose parts do not fit."""
    try:
        yield
    except UNFIT as error:
        raise UnsupportedModel(f"{name} cannot compute a prompt: {_first_line(error)}") from error


def _check_layers(name: str, config: Any, shapes: dict[int, LayerShape]) -> None:
    if sorted(shapes) != list(range(config.num_hidden_layers)):
        raise UnsupportedModel(
            f"{name} has {config.num_hidden_layers} layers, of which {len(shapes)} attend through the "
            "KV cache: layers that keep another state (recurrent, linear attention) are not implemented."
        )
    for layer, kind in enumerate(getattr(config, "layer_types", None) or []):
        if WINDOWED.get(kind) is not (shapes[layer].how.window is not None):
            raise UnsupportedModel(f"{name} has a layer of type {kind}, which is not implemented.")


class _Replacement(nn.Module):
    """A linear layer of ``ops`` in the place of one of the model's."""

    def __init__(self, linear: Linear) -> None:
        super().__init__()
        self.linear, self.in_features, self.out_features = linear, linear.in_features, linear.out_features

    def forward(self, inputs: Tensor) -> Tensor:
        return self.linear(inputs)


def _replace_linears(model: Any, ops: Ops, context_limit: int | None) -> None:
    """By those of ``ops`` where it has faster ones; all else then computes in its activations' type."""
    before, head = _bytes_on_cpu(model), model.get_output_embeddings()
    ops.begin(
        list({(_weight(child).shape[0], _weight(child).shape[1]) for child in model.modules() if _is_linear(child)}),
        context_limit,
    )
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if _is_linear(child) and ops.replaces(_weight(child), child is head):
                bias: Any = child.bias
                setattr(parent, name, _Replacement(ops.linear([_weight(child)], bias)))
    if ops.activations != ops.dtype:
        _compute_in(ops.activations, model)
    if _bytes_on_cpu(model) < before / 2:
        for weight in model.parameters():  # those left lie in the mapped file, and would keep all of it in memory
            weight.data = weight.data.clone()


def _is_linear(module: nn.Module) -> bool:
    return type(module) is nn.Linear or isinstance(module, Conv1D)  # GPT-2's, which lies the other way


def _weight(module: Any) -> Tensor:
    """[out, in]"""
    weight: Tensor = module.weight.detach()
    return weight.t() if isinstance(module, Conv1D) else weight


def _bytes_on_cpu(model: nn.Module) -> int:
    return sum(weight.nbytes for weight in model.parameters() if weight.device.type == "cpu")


def _compute_in(dtype: torch.dtype, model: nn.Module) -> None:
    """Everything but the embeddings, whose rows are widened as they are looked up."""
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda module, args, output: output.to(dtype))
            continue
        for parameter in module.parameters(recurse=False):
            parameter.data = parameter.data.to(dtype)
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.to(dtype))


def _probe_ids(model: Any) -> list[int]:
    vocabulary = model.config.get_text_config().vocab_size
    return [(number * 7919 + 13) % vocabulary for number in range(PROBE_LENGTH)]


def own_logits(model: Any, token_ids: list[int]) -> Tensor:
    """[tokens, vocabulary] of a model that ``load_module`` gave, as transformers computes them."""
    ids = torch.tensor([token_ids], device=model.device)
    model.set_attn_implementation("eager")
    try:
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
    finally:
        model.set_attn_implementation(ATTENTION_NAME)
    return logits.float()


def _paged_logits(model: HfModel, ops: Ops) -> Tensor:
    """All logits, computed in chunks and then as decodes."""
    seq = lone_sequence(_probe_ids(model.module), PROBE_BLOCK)
    cache = ops.new_cache(model.shapes, PROBE_BLOCKS, PROBE_BLOCK)
    logits, start = [], 0
    for length in PROBE_CHUNKS:
        batch = ops.build([Chunk(seq, start, length)], cache)
        every_row = torch.arange(length, device=ops.device)
        logits.append(ops.forward(model, replace(batch, logit_rows=every_row)).clone())
        start += length
    return torch.cat(logits).float()
