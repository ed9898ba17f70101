"""What a folder of sentence-transformers says of its model: read from its JSON, before anything heavy is loaded."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ..errors import ModelNotFound, UnsupportedModel

Pooling = Literal["mean", "cls", "max"]

MODULES = ("Transformer", "Pooling", "Normalize")
LENGTHS = "sentence_bert_config.json"
WEIGHTS, TOKENIZER = "model.safetensors", "tokenizer.json"
ACTIVATIONS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu")
NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
LEGACY_POOLING = "pooling_mode_"
LEGACY_MODES = {"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max"}


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """``longest`` is the most tokens of a text that are read, those that the tokenizer adds among them. ``prompt`` is
    put before every text, ``lower`` makes it small letters before that.
    """

    path: Path
    dimensions: int
    layers: int
    heads: int
    activation: str
    epsilon: float
    longest: int
    pooling: Pooling = "mean"
    lower: bool = False
    prompt: str = ""


def read_folder(path: Path) -> ModelFolder:
    """Raises ``ModelNotFound`` where no model is, ``UnsupportedModel`` for one that is not of BERT's kind."""
    modules = _modules(path)
    inner = path / modules.get("Transformer", "")
    for name in ("config.json", WEIGHTS, TOKENIZER):
        if not (inner / name).is_file():
            raise ModelNotFound(f"There is no {name} in {inner}: this is not a folder of sentence-transformers.")
    config = _read(inner / "config.json")
    _check(config)
    lengths, told = _read(inner / LENGTHS), _read(inner / "tokenizer_config.json")
    wanted = lengths.get("max_seq_length") or told.get("model_max_length") or config["max_position_embeddings"]
    return ModelFolder(
        inner,
        dimensions=config["hidden_size"],
        layers=config["num_hidden_layers"],
        heads=config["num_attention_heads"],
        activation=config.get("hidden_act", "gelu"),
        epsilon=config.get("layer_norm_eps", 1e-12),
        longest=min(int(wanted), config["max_position_embeddings"]),
        pooling=_pooling(path / modules["Pooling"]) if "Pooling" in modules else "mean",
        lower=bool(lengths.get("do_lower_case")),
        prompt=_prompt(path),
    )


def _modules(path: Path) -> dict[str, str]:
    """The folder of each module by its kind; one without a list of modules is the transformer alone."""
    found: dict[str, str] = {}
    listed = _read(path / "modules.json", [])
    for module in cast("list[dict[str, str]]", listed):
        kind = module["type"].rpartition(".")[2]
        if kind not in MODULES:
            raise UnsupportedModel(f"Models with a module “{kind}” cannot be run here.")
        found[kind] = module.get("path", "")
    return found


def _check(config: dict[str, Any]) -> None:
    kind, positions = config.get("model_type"), config.get("position_embedding_type", "absolute")
    if kind != "bert" or positions != "absolute" or config.get("is_decoder"):
        raise UnsupportedModel(f"Of models that embed only those of BERT's kind can be run here, not “{kind}”.")
    if missing := [name for name in NEEDED if name not in config]:
        raise UnsupportedModel(f"The model's config.json lacks {', '.join(missing)}.")
    if (activation := config.get("hidden_act", "gelu")) not in ACTIVATIONS:
        raise UnsupportedModel(f"The activation “{activation}” is not known here.")


def _pooling(folder: Path) -> Pooling:
    config = _read(folder / "config.json")
    if config.get("include_prompt") is False:
        raise UnsupportedModel("Models whose vectors leave out their prompt cannot be run here.")
    modes = config.get("pooling_mode") or [
        LEGACY_MODES.get(name.removeprefix(LEGACY_POOLING), name)
        for name, is_set in config.items()
        if name.startswith(LEGACY_POOLING) and is_set
    ]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in ("mean", "cls", "max"):
        raise UnsupportedModel(f"The pooling {' + '.join(modes)} cannot be run here: mean, cls or max can.")
    return cast("Pooling", modes[0])


def _prompt(path: Path) -> str:
    config = _read(path / "config_sentence_transformers.json")
    prompts, name = config.get("prompts") or {}, config.get("default_prompt_name")
    return str(prompts.get(name) or "") if name else ""


def _read(path: Path, missing: Any = None) -> Any:
    """``missing``, or an empty object, where there is no such file. Raises ``UnsupportedModel`` for what is no JSON."""
    if not path.is_file():
        return {} if missing is None else missing
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnsupportedModel(f"{path.name} cannot be read: {error}") from error
