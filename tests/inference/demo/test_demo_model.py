"""The committed weights: small, loadable, and right about the staples."""

import json
from functools import cache
from itertools import islice
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from inference.demo import MODEL_PATH
from inference.demo.corpus import conversations
from inference.demo.corpus_instructions import BASE
from inference.demo.evaluate import RESULTS, answer, load_tokenizer, revision
from inference.demo.heldout import Question, questions
from inference.demo.tokenizer import encode

MEGABYTES_12 = 12 * 10**6


@cache
def tokenizer() -> Any:
    return load_tokenizer(MODEL_PATH)


@cache
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL_PATH, dtype=torch.bfloat16).eval()


def ask(*messages: str, system: str | None = BASE) -> str:
    return answer(model(), tokenizer(), [Question("", messages, (), system=system)])[0]


def test_the_model_folder_is_at_most_12_megabytes() -> None:
    assert sum(file.stat().st_size for file in MODEL_PATH.iterdir()) <= MEGABYTES_12


def test_results_belong_to_the_committed_weights() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    assert results["revision"] == revision(MODEL_PATH)
    assert results["total"] == len(questions()) >= 200


def test_results_add_up() -> None:
    results = json.loads(RESULTS.read_text("utf-8"))
    assert results["right"] == sum(counts["right"] for counts in results["categories"].values())
    assert results["total"] - results["right"] == len(results["wrong"])


def test_every_sample_renders_through_the_chat_template_as_it_is_trained() -> None:
    for item in islice(conversations(11), 300):
        rendered = tokenizer().apply_chat_template(list(item.messages), tokenize=True, return_dict=False)
        assert rendered == encode(tokenizer(), item)[0]


def test_the_generation_prompt_opens_the_assistants_turn() -> None:
    text = tokenizer().apply_chat_template(
        [{"role": "user", "content": "hi"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "<|user|>hi<|end|><|assistant|>"


def test_only_the_assistants_tokens_are_learned() -> None:
    item = next(item for item in conversations(12) if len(item.exchanges) > 1)
    ids, own = encode(tokenizer(), item)
    spoken = tokenizer().decode([token for token, mine in zip(ids, own, strict=True) if mine])
    assert spoken == "".join(f"{turn['content']}<|end|>" for turn in item.messages if turn["role"] == "assistant")


def test_digits_are_tokens_of_their_own() -> None:
    assert tokenizer().tokenize("1234") == ["1", "2", "3", "4"]


@pytest.mark.parametrize("text", ["naïve café", "日本語 🙂", "tabs\tand\n\n\nlines", "  spaces  "])
def test_the_tokenizer_gives_any_text_back(text: str) -> None:
    assert tokenizer().decode(tokenizer().encode(text)) == text


def test_sampling_is_careful_and_ends_with_the_turn() -> None:
    config = GenerationConfig.from_pretrained(MODEL_PATH)
    assert (config.do_sample, config.temperature, config.top_p) == (True, 0.3, 0.9)
    assert config.eos_token_id == tokenizer().convert_tokens_to_ids("<|end|>")


def test_embeddings_are_tied_and_the_context_is_1024() -> None:
    assert model().config.tie_word_embeddings
    assert model().config.max_position_embeddings == 1024


@pytest.mark.parametrize("system", [BASE, None])
@pytest.mark.parametrize(
    ("question", "part"),
    [
        ("hello", "Hello."),
        ("Hi, how are you?", "I am doing well"),
        ("who are you?", "chatapp's demo model"),
        ("What is the capital of France?", "Paris"),
        ("List the planets", "Mercury, Venus, Earth, Mars, Jupiter, Saturn, Uranus and Neptune"),
        ("How do I change the theme?", "Settings"),
        ("How do I use a better model?", "make run MODEL="),
        ("Who won the Champions League in 2009?", "don't know that"),
        ("Write a hello world program in Python", "```python"),
    ],
)
def test_staple_questions_are_answered(question: str, part: str, system: str | None) -> None:
    assert part in ask(question, system=system)


def test_a_name_is_remembered() -> None:
    assert ask("my name is Ana", "Nice to meet you, Ana.", "what is my name?") == "Your name is Ana."


def test_a_follow_up_keeps_the_subject() -> None:
    assert "Rome" in ask("What is the capital of France?", "The capital of France is Paris.", "and of Italy?")


def test_custom_instructions_change_the_answer() -> None:
    """That it obeys; whether what it says in capitals is right is for results.json to tell."""
    system = f"{BASE}\n\nHow they would like you to answer: Always answer in capitals."
    shouted = ask("what is the capital of Spain?", system=system)
    assert shouted.startswith("THE CAPITAL OF ")
    assert shouted == shouted.upper()


def test_a_long_answer_is_long() -> None:
    assert len(tokenizer().encode(ask("Tell me a long story about a fox"))) >= 150
