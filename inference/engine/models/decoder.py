"""One decoder for Llama and its kin: what differs between them are the flags of ``DecoderConfig``.

Its tensors go by name from the files into the layout of the operations it is given, a layer at a time, so the model
as it was stored never lies beside the one that is computed with.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..attention import Attending, LayerShape
from ..batch import Batch
from ..ops import Embedding, Layer, Linear, Norm, Ops
from .checking import check_layer
from .families import DecoderConfig
from .rope import NotKnown
from .tensors import DTYPES, Tensors

logger = logging.getLogger(__name__)

Shapes = dict[str, tuple[int, ...]]
EMBEDDING, HEAD, LAST_NORM = "model.embed_tokens.weight", "lm_head.weight", "model.norm.weight"
AROUND = {"after_attention": "post_attention_layernorm", "after_mlp": "post_feedforward_layernorm"}
NORMS = {  # their names in checkpoints, by where they stand
    "before": {"before_attention": "input_layernorm", "before_mlp": "post_attention_layernorm"},
    "after": AROUND,
    "around": {"before_attention": "input_layernorm", "before_mlp": "pre_feedforward_layernorm", **AROUND},
}


class Decoder:
    """Loads ``config``'s model from ``tensors``; ``progress`` is told the share that is done.

    Raises ``KernelMismatch`` where ``ops`` computes something else than the reference does.
    """

    def __init__(
        self, config: DecoderConfig, tensors: Tensors, ops: Ops, progress: Callable[[float], None] = lambda share: None
    ) -> None:
        self.config, self.ops = config, ops
        self.name, self.vocab_size, self.context_limit = config.name, config.vocab_size, config.context_limit
        self.shapes = {
            layer: LayerShape(
                config.kv_heads, config.head_dim, config.head_dim, Attending(config.scale, window, config.softcap)
            )
            for layer, window in enumerate(config.windows)
        }
        self._frequencies = [rope.frequencies(ops.device) for rope in config.ropes]
        loader = _Loader(config, tensors, self.shapes)
        ops.begin(loader.matrices(), config.context_limit)
        self.embedding, self._head = loader.vocabulary(ops)
        self._norm = loader.norm(ops, LAST_NORM)
        self._layers = list(self._load(loader, progress))
        ops.loaded()
        # Rounded as a table of the model's own type rounds it, as transformers does.
        self._embedding_scale = torch.tensor(config.embedding_scale, dtype=ops.dtype).item()

    def _load(self, loader: _Loader, progress: Callable[[float], None]) -> Iterator[Layer]:
        checked: set[tuple[int | None, int | None]] = set()
        for index, kind in enumerate(zip(self.config.windows, self.config.ropes_of, strict=True)):
            layer = loader.layer(self.ops, index)
            if kind not in checked and type(self.ops) is not Ops:
                reference = Ops(self.ops.device, torch.float32)
                check_layer(self.ops, layer, reference, loader.layer(reference, index), self._frequencies)
            checked.add(kind)
            loader.tensors.let_go()
            yield layer
            progress((index + 1) / self.config.num_layers)

    @property
    def num_weights(self) -> int:
        return sum(torch.Size(shape).numel() for shape in expected_tensors(self.config).values())

    def forward(self, batch: Batch) -> Tensor:
        """Logits [rows of ``batch.logit_rows``, vocabulary]."""
        ops = self.ops
        x = self.embedding(batch.token_ids)
        if self._embedding_scale != 1.0:
            x = x * self._embedding_scale
        rotations = [ops.rotation(frequencies, batch.positions) for frequencies in self._frequencies]
        for layer in self._layers:
            x = ops.layer(layer, x, None if layer.rope is None else rotations[layer.rope], batch.context)
        logits = self._head(ops.norm(x.index_select(0, batch.logit_rows), self._norm))
        if self.config.logit_divisor != 1.0:
            logits = logits / self.config.logit_divisor
        cap = self.config.logit_softcap
        return logits if cap is None else torch.tanh(logits / cap) * cap


def expected_tensors(config: DecoderConfig) -> Shapes:
    """Every tensor of a checkpoint, with its shape."""
    size = config.hidden_size
    found: Shapes = {EMBEDDING: (config.vocab_size, size), LAST_NORM: (size,)}
    if not config.tied:
        found[HEAD] = (config.vocab_size, size)
    for layer in range(config.num_layers):
        found |= {f"model.layers.{layer}.{name}": shape for name, shape in _layer_tensors(config).items()}
    return found


def _layer_tensors(config: DecoderConfig) -> Shapes:
    size, inner, dim = config.hidden_size, config.intermediate_size, config.head_dim
    queries, keys = config.heads * dim, config.kv_heads * dim
    found: Shapes = {f"{name}.weight": (size,) for name in NORMS[config.norms].values()}
    for names, rows, cols, bias in (
        (_qkv(config), _qkv_rows(config), size, config.qkv_bias),
        (["self_attn.o_proj"], [size], queries, config.o_bias),
        (_gate_up(config), [2 * inner] if config.fused else [inner, inner], size, config.mlp_bias),
        (["mlp.down_proj"], [size], inner, config.mlp_bias),
    ):
        for name, count in zip(names, rows, strict=True):
            found[f"{name}.weight"] = (count, cols)
            if bias:
                found[f"{name}.bias"] = (count,)
    if config.head_norms:
        by_head = config.head_norms == "head"
        found["self_attn.q_norm.weight"] = (dim if by_head else queries,)
        found["self_attn.k_norm.weight"] = (dim if by_head else keys,)
    return found


def _qkv(config: DecoderConfig) -> list[str]:
    return ["self_attn.qkv_proj"] if config.fused else [f"self_attn.{part}_proj" for part in "qkv"]


def _qkv_rows(config: DecoderConfig) -> list[int]:
    queries, keys = config.heads * config.head_dim, config.kv_heads * config.head_dim
    return [queries + 2 * keys] if config.fused else [queries, keys, keys]


def _gate_up(config: DecoderConfig) -> list[str]:
    return ["mlp.gate_up_proj"] if config.fused else ["mlp.gate_proj", "mlp.up_proj"]


def check_tensors(config: DecoderConfig, tensors: Tensors) -> None:
    """Raises ``NotKnown`` unless the files hold exactly what the decoder computes with."""
    expected = expected_tensors(config)
    for name, shape in expected.items():
        place = tensors.places.get(name)
        if place is None:
            raise NotKnown(f"its files lack {name}")
        if place.shape != shape or place.dtype not in DTYPES:
            raise NotKnown(f"{name} is {place.dtype} {list(place.shape)} in its files, not {list(shape)}")
    for name in tensors.places:
        if name not in expected and name != HEAD and not name.endswith("rotary_emb.inv_freq"):
            raise NotKnown(f"its files have {name}, which it does not know")


class _Loader:
    """Parts of a model in the layout of some operations."""

    def __init__(self, config: DecoderConfig, tensors: Tensors, shapes: dict[int, LayerShape]) -> None:
        self.config, self.tensors, self._shapes = config, tensors, shapes

    def matrices(self) -> list[tuple[int, int]]:
        """[out, in] of each that a layer is multiplied with, and of the output layer."""
        config, size = self.config, self.config.hidden_size
        return [
            (sum(_qkv_rows(config)), size),
            (size, config.heads * config.head_dim),
            (2 * config.intermediate_size, size),
            (size, config.intermediate_size),
            (config.vocab_size, size),
        ]

    def vocabulary(self, ops: Ops) -> tuple[Embedding, Linear]:
        table = self.tensors[EMBEDDING]
        separate = HEAD in self.tensors.places and not (self.config.tied and torch.equal(table, self.tensors[HEAD]))
        found = ops.vocabulary(table, self.tensors[HEAD] if separate else None)
        self.tensors.let_go()
        return found

    def norm(self, ops: Ops, name: str) -> Norm:
        weight = self.tensors[name].float().to(ops.device) + self.config.norm_offset
        return Norm(weight, self.config.eps, self.config.norm_early)

    def layer(self, ops: Ops, index: int) -> Layer:
        config, prefix = self.config, f"model.layers.{index}."

        def linear(names: list[str], has_bias: bool) -> Linear:
            biases = [self.tensors[f"{prefix}{name}.bias"] for name in names] if has_bias else []
            weights = [self.tensors[f"{prefix}{name}.weight"] for name in names]
            return ops.linear(weights, torch.cat(biases) if biases else None)

        def head_norm(part: str) -> Norm | None:
            return self.norm(ops, f"{prefix}self_attn.{part}_norm.weight") if config.head_norms else None

        norms = {role: self.norm(ops, f"{prefix}{name}.weight") for role, name in NORMS[config.norms].items()}
        return Layer(
            index=index,
            heads=config.heads,
            shape=self._shapes[index],
            rope=config.ropes_of[index],
            qkv=linear(_qkv(config), config.qkv_bias),
            o=linear(["self_attn.o_proj"], config.o_bias),
            gate_up=linear(_gate_up(config), config.mlp_bias),
            down=linear(["mlp.down_proj"], config.mlp_bias),
            activation=config.activation,
            query_norm=head_norm("q"),
            key_norm=head_norm("k"),
            before_attention=norms.get("before_attention"),
            after_attention=norms.get("after_attention"),
            before_mlp=norms.get("before_mlp"),
            after_mlp=norms.get("after_mlp"),
            residual=config.residual_scale,
        )
