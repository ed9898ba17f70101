"""What a converted model's folder holds."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .architectures import architecture_of, model_config
from .metadata import Metadata
from .parts import Contents, read_parts
from .rotation import Rotation
from .tensors import Weight, list_weights, read_vector
from .tokenizer import read_tokenizer, tokenizer_config
from .weights_file import write_weights

MATRIX = 2  # dimensions
SAMPLING = {"temp": "temperature", "top_p": "top_p", "top_k": "top_k", "min_p": "min_p"}
LONG, SHORT, FACTORS = (f"rope_{name}.weight" for name in ("factors_long", "factors_short", "freqs"))


@dataclass(frozen=True, slots=True)
class Described:
    """All that is known of a model before its weights are read. ``texts``: the small files by their names."""

    weights: Sequence[Weight]
    texts: dict[str, str]

    @property
    def size(self) -> int:
        return sum(weight.size for weight in self.weights) + sum(map(len, self.texts.values()))


def describe(parts: Sequence[Path]) -> Described:
    """Raises ``UnsupportedModel`` for whatever is not read."""
    contents = read_parts(parts)
    metadata = Metadata(parts[0].name, contents.values)
    architecture = architecture_of(metadata)
    tokenizer, vocabulary = read_tokenizer(metadata)
    ids = {"bos_token_id": vocabulary.bos, "eos_token_id": vocabulary.ends[0] if vocabulary.ends else None}
    told = {**_told_by_tensors(metadata, contents), **ids, "pad_token_id": vocabulary.padding}
    config = model_config(metadata, architecture, _rotation(metadata, contents), **told)
    weights = list_weights(contents, architecture, config)
    config["dtype"] = _dtype(weights)
    generation = {**ids, "eos_token_id": list(vocabulary.ends), **_sampling(metadata)}
    texts = {
        "config.json": json.dumps(config, indent=2),
        "generation_config.json": json.dumps(generation, indent=2),
        "tokenizer.json": tokenizer.to_str(),
        "tokenizer_config.json": json.dumps(tokenizer_config(metadata, vocabulary), indent=2),
    }
    return Described(weights, texts)


def write_folder(described: Described, folder: Path, tell: Callable[[int], None]) -> None:
    """``tell`` hears of the bytes as they are written."""
    for name, text in described.texts.items():
        tell((folder / name).write_text(text))
    kinds = ",".join(sorted({weight.kind for weight in described.weights}))
    write_weights(folder / "model.safetensors", described.weights, {"gguf": kinds, "folder": folder.stem}, tell)


def _told_by_tensors(metadata: Metadata, contents: Contents) -> dict[str, Any]:
    embedding = contents.tensors.get("token_embd.weight")
    if embedding is None or len(embedding.info.shape) != MATRIX:
        raise metadata.refuse("has no embeddings (token_embd.weight): it is a part of a model, or a vocabulary alone")
    layers = metadata.whole(".block_count")
    if layers > len(contents.tensors):
        raise metadata.refuse(f"lacks tensors: it has {len(contents.tensors)} for {layers:,} layers")
    return {
        "vocab_size": embedding.info.shape[0],
        "tie_word_embeddings": "output.weight" not in contents.tensors,
        "attention_bias": "blk.0.attn_q.bias" in contents.tensors,
    }


def _rotation(metadata: Metadata, contents: Contents) -> Rotation:
    heads = metadata.whole(".attention.head_count")
    head_dim = metadata.whole(".attention.key_length", metadata.whole(".embedding_length") // max(1, heads))
    return Rotation(
        size=metadata.whole(".rope.dimension_count", head_dim),
        head_dim=head_dim,
        factors=read_vector(contents, FACTORS),
        long=read_vector(contents, LONG, f"blk.0.{LONG}"),
        short=read_vector(contents, SHORT, f"blk.0.{SHORT}"),
    )


def _dtype(weights: Sequence[Weight]) -> str:
    """What the model computes in where nobody says: its own type, as most of its numbers have it.

    That of quantized ones is bfloat16. They are kept in float16, which is nearer to them, but what some models compute
    on the way is beyond its largest number.
    """
    sizes = dict.fromkeys(("float32", "float16", "bfloat16"), 0)
    for weight in weights:
        sizes[{"F32": "float32", "F16": "float16"}.get(weight.kind, "bfloat16")] += weight.size
    return max(sizes, key=lambda name: sizes[name])


def _sampling(metadata: Metadata) -> dict[str, Any]:
    """The settings that its makers recommend, where the file has them."""
    keys = {name: f"general.sampling.{key}" for key, name in SAMPLING.items()}
    return {name: metadata.number(key) for name, key in keys.items() if key in metadata}
