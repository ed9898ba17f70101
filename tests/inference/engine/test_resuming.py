"""A job begun by another engine, of which only the text is known, goes on in this one's tokens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from inference.engine import LLMEngine, SamplingParams
from inference.messages import ChatMessage, Claim, Job, Sampling
from inference.writers.torch import TorchWriter
from tests.inference.engine.driving import drain, tokens_of

PROMPT = [(13 * k) % 380 + 6 for k in range(12)]
TEMPLATE = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
SCHEMA = {
    "type": "object",
    "properties": {"a": {"enum": ["b", "b c"]}},
    "required": ["a"],
    "additionalProperties": False,
}

Factory = Callable[..., LLMEngine]


@pytest.fixture
def spaced(llama: Path, tmp_path: Path) -> Path:
    """The Llama with a tokenizer that takes every text for the beginning of one, and puts a space there."""
    bpe = Tokenizer(models.BPE(unk_token="<unk>"))
    bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    parts = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    bpe.decoder = decoders.Sequence(parts)
    alphabet = [chr(code) for code in range(32, 127)] + ["\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<unk>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(['{"a": "b c"} the quick brown fox'] * 50, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=bpe, unk_token="<unk>", eos_token="</s>")
    fast.chat_template = TEMPLATE
    folder = shutil.copytree(llama, tmp_path / "model")
    fast.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


def resumed(engine: LLMEngine, text: str, **sampling: Any) -> tuple[str, str]:
    """What is written after ``text``, and why it ends."""
    local, wanted = TorchWriter(engine), Sampling(max_tokens=60, temperature=0.0, **sampling)
    job = Job("g", "t", "m", (ChatMessage("user", "fox"),), wanted, prompt_tokens=1)
    local.begin(Claim(job, text=text, tokens=len(text)))
    written, reason = "", ""
    while local.busy:
        for output in local.advance(0.0):
            written += output.text
            reason = output.ended.reason if output.ended else reason
    return written, reason


@pytest.mark.parametrize("text", ["{", '{"a"', '{"a": "b', '{"a": "b '])
def test_a_schema_is_gone_on_with_whatever_the_tokenizer_puts_first(
    text: str, spaced: Path, llama: Path, make_engine: Factory
) -> None:
    for folder in (spaced, llama):
        rest, reason = resumed(make_engine(folder), text, json_schema=json.dumps(SCHEMA))
        assert reason == "stop"
        assert json.loads(text + rest) in ({"a": "b"}, {"a": "b c"})


def test_text_that_shares_a_token_with_a_lines_end_keeps_its_own(make_engine: Factory) -> None:
    engine = make_engine()
    for text in ("\n", "\n\n the fox", "</s>", "é"):
        ids = TorchWriter(engine)._encode(text)
        assert engine.tokenizer.decode(ids) == text


def test_an_answer_whose_tokens_are_not_known_goes_on_with_the_next_draws_of_its_seed(make_engine: Factory) -> None:
    engine = make_engine()
    params = SamplingParams(max_tokens=20, seed=7, temperature=1.5)
    engine.add_request("whole", PROMPT, params)
    answer = tokens_of(drain(engine)["whole"])
    params = SamplingParams(max_tokens=12, seed=7, temperature=1.5)
    for count, name in ((8, "goes on"), (0, "begins again")):
        engine.add_request(name, [*PROMPT, *answer[:8]], params, drawn_before=count)
        assert (tokens_of(drain(engine)[name]) == answer[8:]) == (name == "goes on")


def test_a_seed_of_minus_one_is_another_one_each_time(make_engine: Factory) -> None:
    engine, answers = make_engine(), set()
    for seed in (-1, -1, None):
        engine.add_request("r", PROMPT, SamplingParams(max_tokens=20, seed=seed, temperature=2.0))
        answers.add(tuple(tokens_of(drain(engine)["r"])))
    assert len(answers) == 3
