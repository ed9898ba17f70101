"""A GGUF file's tensors, one after another, as transformers names, orders and shapes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

from ....errors import UnsupportedModel
from .architectures import Architecture
from .parts import Contents, Tensor

READ = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
STORED = ("F32", "F16", "BF16")  # as they are; what is quantized is computed
BYTES = {"F32": 4, "F16": 2, "BF16": 2}
OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
LAYER = re.compile(r"blk\.(\d{1,5})\.([a-z0-9_]+)\.(weight|bias)")
TOLD_BY_CONFIG = re.compile(
    r"rope_freqs\.weight|(?:blk\.\d+\.)?rope_factors_(?:long|short)\.weight|blk\.\d+\.attn_rot_embd\.weight"
)
NO_NUMBER = 0x7F80  # the exponent of a bfloat16 that is none, or infinite
AT_ONCE = 1 << 22  # numbers dequantised at a time: 16 MB of float32


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor under transformers' name. ``heads``: rows to put back half a head apart; ``less``: to take off."""

    name: str
    tensor: Tensor
    heads: int = 0
    less: float = 0.0

    @property
    def kind(self) -> str:
        return GGMLQuantizationType(self.tensor.info.kind).name

    @property
    def shape(self) -> tuple[int, ...]:
        return self.tensor.info.shape

    @property
    def dtype(self) -> str:
        """In which it is kept: its own, and F16 for what was quantized, whose 11 bits lose the least in two bytes.

        What a number is taken off of stays F32: rounded first, it would be off by more than its own size.
        """
        if self.less:
            return "F32"
        return self.kind if self.kind in STORED else "F16"

    @property
    def size(self) -> int:
        """Bytes, as kept."""
        return int(np.prod(self.shape)) * BYTES[self.dtype]

    def pieces(self) -> Iterator[npt.NDArray[Any]]:
        """Its rows in order, some at a time, as bytes or numbers of ``dtype``; of a vector each number is a row.

        Raises ``UnsupportedModel`` for numbers that are none, or beyond ``dtype``: the file is damaged.
        """
        rows = _raw_rows(self.tensor)
        order = _halves(len(rows), self.heads) if self.heads else None
        columns = int(np.prod(self.shape)) // len(rows)
        step = max(1, AT_ONCE // columns)
        for begin in range(0, len(rows), step):
            chosen = rows[begin : begin + step] if order is None else rows[order[begin : begin + step]]
            yield self._kept(np.asarray(chosen))

    def _kept(self, raw: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        if self.dtype == self.kind == "BF16":
            self._require(bool(((raw.view(np.uint16) & NO_NUMBER) != NO_NUMBER).all()))
            return raw
        numbers = quants.dequantize(raw, GGMLQuantizationType(self.tensor.info.kind))
        with np.errstate(over="ignore"):
            kept = (numbers - np.float32(self.less)).astype(np.float32 if self.dtype == "F32" else np.float16)
        self._require(bool(np.isfinite(kept).all()))
        return kept

    def _require(self, finite: bool) -> None:
        if not finite:
            name = self.tensor.info.name
            words = f"is damaged: {name} has numbers that are none, or too large."
            raise UnsupportedModel(f"{self.tensor.file.name} {words}")


def list_weights(contents: Contents, architecture: Architecture, config: Mapping[str, Any]) -> list[Weight]:
    """All the model's, in the file's order. Raises ``UnsupportedModel`` for one that is unknown, missing or cut off."""
    weights = [
        _weight(tensor, architecture, config)
        for tensor in contents.tensors.values()
        if not TOLD_BY_CONFIG.fullmatch(tensor.info.name)
    ]
    _require_all(weights, contents, architecture, config["num_hidden_layers"])
    return weights


def check_kind(tensor: Tensor) -> None:
    """Raises ``UnsupportedModel`` for a type that is not read, or a tensor that the file ends in."""
    info, file = tensor.info, tensor.file
    try:
        kind = GGMLQuantizationType(info.kind)
    except ValueError:
        kind = None
    if kind is None or kind.name not in READ:
        called = kind.name if kind else f"type {info.kind}"
        raise UnsupportedModel(f"{file.name} is quantized as {called}, which is not read; {', '.join(READ)} are.")
    block, size = GGML_QUANT_SIZES[kind]
    if info.shape[-1] % block:
        raise UnsupportedModel(f"{file.name} is damaged: {info.name[:80]} is not made of whole blocks.")
    if info.start + int(np.prod(info.shape)) // block * size > file.stat().st_size:
        raise UnsupportedModel(f"{file.name} is not wholly there: it ends within {info.name[:80]}. Get the file again.")


def read_vector(contents: Contents, *names: str) -> list[float]:
    """The numbers of the first of ``names`` that is there; empty when none is."""
    for name in names:
        if tensor := contents.tensors.get(name):
            check_kind(tensor)
            return [float(number) for piece in Weight(name, tensor).pieces() for number in piece.flatten()]
    return []


def _weight(tensor: Tensor, architecture: Architecture, config: Mapping[str, Any]) -> Weight:
    check_kind(tensor)
    name, part = _translate(tensor.info.name, architecture, tensor.file)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(part, 0)
    less = 1.0 if architecture.norm_plus_one and part.endswith("norm") else 0.0
    if heads and architecture.neighbours:
        _require_halves(tensor, heads)
        return Weight(name, tensor, heads=heads)
    return Weight(name, tensor, less=less)


def _translate(name: str, architecture: Architecture, file: Path) -> tuple[str, str]:
    """transformers' name, and what kind of part it is."""
    if name in OUTER:
        return OUTER[name], name.removesuffix(".weight")
    found = LAYER.fullmatch(name)
    if found is None or found[2] not in architecture.parts:
        raise UnsupportedModel(f"{file.name} has a tensor that is not known: {name[:80]!r}.")
    return f"model.layers.{int(found[1])}.{architecture.parts[found[2]]}.{found[3]}", found[2]


def _require_all(weights: list[Weight], contents: Contents, architecture: Architecture, layers: int) -> None:
    have = {weight.name for weight in weights}
    parts = [f"model.layers.{number}.{part}.weight" for number in range(layers) for part in architecture.parts.values()]
    wanted = [OUTER["token_embd.weight"], OUTER["output_norm.weight"], *parts]
    file = next(iter(contents.tensors.values())).file
    if lacking := [name for name in wanted if name not in have]:
        raise UnsupportedModel(f"{file.name} lacks {len(lacking)} of the model's tensors, {lacking[0]} for one.")
    beyond = [name for name in have if name.startswith("model.layers.") and int(name.split(".")[2]) >= layers]
    if beyond:
        raise UnsupportedModel(f"{file.name} has {layers} layers by its own words, and yet {min(beyond)}.")


def _require_halves(tensor: Tensor, heads: int) -> None:
    rows = tensor.info.shape[0]
    if rows % (2 * heads):
        raise UnsupportedModel(f"{tensor.file.name} is damaged: {tensor.info.name} has {rows} rows for {heads} heads.")


def _halves(rows: int, heads: int) -> npt.NDArray[np.int64]:
    """Which row comes where: those beside each other, pair by pair, go half a head apart."""
    pairs = np.arange(rows).reshape(heads, rows // heads // 2, 2)
    return pairs.swapaxes(1, 2).reshape(rows)


def _raw_rows(tensor: Tensor) -> npt.NDArray[np.uint8]:
    """[rows, bytes of a row], in the file; a vector is rows of one number each, that these too can be put in order."""
    info = tensor.info
    block, size = GGML_QUANT_SIZES[GGMLQuantizationType(info.kind)]
    columns = info.shape[-1] if len(info.shape) > 1 else block
    rows = int(np.prod(info.shape)) // columns
    shape = (rows, columns // block * size)
    return np.memmap(tensor.file, dtype=np.uint8, mode="r", offset=info.start, shape=shape)
