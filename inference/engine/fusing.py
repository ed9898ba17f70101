"""Replaces parts of a model by faster ones that compute the same.

A part is recognised by the names that transformers gives its children, which promise nothing. So the model
is run once on a few tokens, what went in and out of each candidate is recorded, and a replacement stays
only if it gives the same for the same; otherwise the model keeps its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .attention import LayerShape

logger = logging.getLogger(__name__)

SMALLEST = 1e-30  # of a padding token there may be nothing
Offers = Callable[[Any], Iterable[nn.Module]]  # what a module might be replaced by


@dataclass(frozen=True, slots=True)
class _Call:
    """What went in and out of a module."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Tensor


@torch.inference_mode()
def fuse(model: nn.Module, probe: Callable[[], None], kind: str, offers: Offers, close: float) -> None:
    """Replace each module by the first of its ``offers`` whose output is so ``close``, relatively, to its own.

    ``probe`` runs the model on a few tokens.
    """
    calls = _record([module for module in model.modules() if any(True for _ in offers(module))], probe)
    candidates, replaced = len(calls), 0
    for parent in list(model.modules()):
        for name, module in list(parent.named_children()):
            if (call := calls.pop(module, None)) is None:  # and with it the module's weights
                continue
            fitting = (offer for offer in offers(module) if _agrees(offer, call, close))
            if (chosen := next(fitting, None)) is not None:
                setattr(parent, name, chosen)
                replaced += 1
    logger.info("fused %d of %d %s", replaced, candidates, kind)


def rms_norm(module: Any) -> tuple[Tensor, float] | None:
    """Weight [size] and epsilon of what is called an RMSNorm; some add one to the weight, as Gemma's."""
    weight, epsilon = getattr(module, "weight", None), getattr(module, "variance_epsilon", getattr(module, "eps", None))
    if not (type(module).__name__.endswith("RMSNorm") and isinstance(weight, Tensor) and isinstance(epsilon, float)):
        return None
    return (weight, epsilon) if weight.dim() == 1 else None


def plain_attention(module: Any, shape: LayerShape, norm: type[nn.Module]) -> bool:
    """Whether it does no more than project, normalise by ``norm`` or not at all, rotate and attend.

    A gate beside the queries, and a clip that no probe may reach, are nothing the kernels know.
    """
    norms = [getattr(module, name, None) for name in ("q_norm", "k_norm")]
    fused = norms == [None, None] or all(isinstance(n, norm) and n.weight.shape == (shape.key_dim,) for n in norms)
    whole = module.q_proj.out_features == module.o_proj.in_features and shape.key_dim == shape.value_dim
    return fused and whole and getattr(getattr(module, "config", None), "clip_qkv", None) is None


def _record(modules: list[nn.Module], probe: Callable[[], None]) -> dict[nn.Module, _Call]:
    calls: dict[nn.Module, _Call] = {}

    def note(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        calls[module] = _Call(args, kwargs, _tensor(output))

    hooks = [module.register_forward_hook(note, with_kwargs=True) for module in modules]
    try:
        probe()
    finally:
        for hook in hooks:
            hook.remove()
    return calls


def _tensor(output: Any) -> Tensor:
    """A copy of what a module gave, several tensors side by side."""
    outputs = output if isinstance(output, tuple) else (output,)
    return torch.cat([each for each in outputs if isinstance(each, Tensor)], dim=-1)


def _agrees(offer: nn.Module, call: _Call, close: float) -> bool:
    try:
        output = _tensor(offer(*call.args, **call.kwargs))
    except (TypeError, ValueError, RuntimeError) as refusal:  # called otherwise than the replacement can be
        logger.debug("%s does not fit: %s", type(offer).__name__, refusal)
        return False
    if output.shape != call.output.shape:
        return False
    # The median of the tokens, since one number rounded the other way may turn a token's attention elsewhere.
    error = (output - call.output).float().norm(dim=-1) / call.output.float().norm(dim=-1).clamp(min=SMALLEST)
    return bool(error.median() <= close)
