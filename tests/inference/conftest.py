"""Tiny models with random weights, a tokenizer trained on the spot, and engines over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

from inference.engine import EngineConfig, LLMEngine

VOCABULARY = 400
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": None,
    "pad_token_id": 0,
}
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE, so that every text has tokens and most characters beyond ASCII have several."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    specials = ["<pad>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["the quick brown fox jumps over the lazy dog and runs away"] * 50, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>", extra_special_tokens=specials[3:]
    )
    fast.chat_template = TEMPLATE
    return fast


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PreTrainedTokenizerFast) -> Callable[..., Path]:
    """Folder of a model of ``model_type`` with random weights; built once per set of arguments.

    ``varied``: norms and biases too, which otherwise are ones and zeros, so that leaving one out would not be seen.
    """
    built: dict[str, Path] = {}

    def make(model_type: str, varied: bool = False, **settings: Any) -> Path:
        key = repr((model_type, varied, sorted(settings.items())))
        if key not in built:
            torch.manual_seed(0)
            config = CONFIG_MAPPING[model_type](**SHAPE | settings)
            built[key] = tmp_path_factory.mktemp(model_type)
            model = AutoModelForCausalLM.from_config(config)
            for weight in model.parameters():
                if varied and weight.dim() == 1:
                    weight.data += 0.3 * torch.randn_like(weight)
            model.save_pretrained(built[key])
            tokenizer.save_pretrained(built[key])
        return built[key]

    return make


@pytest.fixture(scope="session")
def llama(make_model: Callable[..., Path]) -> Path:
    return make_model("llama")


@pytest.fixture
def make_engine(llama: Path) -> Callable[..., LLMEngine]:
    """An engine over ``folder`` (the Llama by default) with blocks of 4 tokens."""

    def make(folder: Path = llama, **options: Any) -> LLMEngine:
        defaults = {"block_size": 4, "num_kv_blocks": 256, "max_num_seqs": 8, "max_batched_tokens": 64}
        return LLMEngine(EngineConfig(model=str(folder), **defaults | options))

    return make


@pytest.fixture(scope="session")
def generate() -> Callable[..., list[int]]:
    """The continuation that transformers' own ``generate`` writes, greedily."""
    loaded: dict[Path, PreTrainedModel] = {}

    def run(folder: Path, prompt: list[int], max_tokens: int) -> list[int]:
        if folder not in loaded:
            loaded[folder] = AutoModelForCausalLM.from_pretrained(folder).eval()
        ids = torch.tensor([prompt])
        output = loaded[folder].generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False
        )
        return output[0, len(prompt) :].tolist()

    return run
