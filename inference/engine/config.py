"""What an engine is started with."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Literal

WEIGHTS = ("auto", "float32", "bfloat16", "float16", "int8", "fp8", "int4")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Raises ``ValueError`` naming the field when a value cannot work.

    model: a local folder, or a name on the model hub.
    dtype: ``auto`` or a torch dtype's name, in which the model then computes; on a CPU, by plain torch.
    weights: how large matrices are kept. ``auto`` is the model's own type on an accelerator and, on a CPU that has
        the kernels, the faster of ``int8`` and ``bfloat16``; ``float32`` is exact and slow. ``fp8`` and ``int4``
        need an NVIDIA device and the package torchao.
    num_kv_blocks: size of the KV cache in blocks of ``block_size`` tokens; wins over ``kv_memory_bytes``.
    kv_memory_bytes: size of the KV cache in bytes. With neither, the runner takes a share of the memory.
    max_num_seqs: sequences that run at once.
    max_batched_tokens: tokens computed in one step, shared by decodes first and prefill chunks after.
    max_model_len: longest prompt plus answer in tokens; the model's own limit when ``None``.
    num_threads: torch's CPU threads, a setting of the whole process; untouched when ``None``.
    overlap: launch a step before the host has dealt with the tokens of the one before. ``auto``: on an NVIDIA device.
    visible_tokens: groups of special tokens that stay in the text, which is without all others; a group only where the
        tokenizer has all of it.
    prefix_salt: secret at the root of every prefix-cache hash; random per process by default.
    """

    model: str
    dtype: str = "auto"
    weights: str = "auto"
    device: str = "auto"
    block_size: int = 16
    num_kv_blocks: int | None = None
    kv_memory_bytes: int | None = None
    max_num_seqs: int = 16
    max_batched_tokens: int = 512
    max_model_len: int | None = None
    num_threads: int | None = None
    overlap: bool | Literal["auto"] = "auto"
    visible_tokens: tuple[tuple[str, ...], ...] = ()
    prefix_salt: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        for name in ("block_size", "max_num_seqs", "max_batched_tokens"):
            _require_positive(name, getattr(self, name))
        for name in ("num_kv_blocks", "kv_memory_bytes", "max_model_len", "num_threads"):
            if getattr(self, name) is not None:
                _require_positive(name, getattr(self, name))
        if self.weights not in WEIGHTS:
            raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}, got {self.weights!r}")
        if self.overlap not in (True, False, "auto"):
            raise ValueError(f"overlap must be true, false or auto, got {self.overlap!r}")
        if self.max_batched_tokens < self.max_num_seqs:
            raise ValueError("max_batched_tokens must be at least max_num_seqs: every decode needs one")
        if not self.prefix_salt:
            raise ValueError("prefix_salt must not be empty: it keeps tenants' cached prefixes apart")


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")
