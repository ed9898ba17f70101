"""Folders as sentence-transformers keeps them: tiny models of BERT's kind with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

MODULES = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
WORDS = ["the", "quick", "brown", "fox", "##es", "##ed", "jump", "over", "lazy", "dog", *"abcdefghijklmnopqrstuvwxyz"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def wordpiece() -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS, "🦊", "ש", "م", "##x"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.enable_padding(length=64)  # as some folders have it
    return tokenizer


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory) -> Callable[..., Path]:
    """``make_folder(pooling="cls", …)``; ``modules`` and ``config`` change what its files say."""

    def make(pooling="mean", modules=MODULES, lengths=None, prompts=None, legacy=True, **config) -> Path:
        folder = tmp_path_factory.mktemp("embeds") / "tiny-embedder"
        torch.manual_seed(7)
        shape = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
        shape |= {"intermediate_size": 48, "max_position_embeddings": 48, "initializer_range": 0.5}
        model = BertModel(BertConfig(**shape, **config))
        for parameter in model.parameters():  # biases and norms too, which begin as nothing
            parameter.data.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(folder)
        wordpiece().save(str(folder / "tokenizer.json"))
        write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "model_max_length": 10**30})
        listed = [{"path": path, "type": f"sentence_transformers.models.{kind}"} for kind, path in modules]
        write(folder / "modules.json", listed)
        write(folder / "sentence_bert_config.json", {"max_seq_length": 40} if lengths is None else lengths)
        flags = {
            f"pooling_mode_{name}": name.startswith(pooling) for name in ("cls_token", "mean_tokens", "max_tokens")
        }
        write(folder / "1_Pooling" / "config.json", flags if legacy else {"pooling_mode": pooling})
        if prompts:
            write(folder / "config_sentence_transformers.json", prompts)
        return folder

    return make


def write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
