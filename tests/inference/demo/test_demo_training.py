"""Batches, the learning rate and the judging of answers: what the numbers in results.json rest on."""

from itertools import islice
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from inference.demo import MODEL_PATH
from inference.demo.architecture import CONTEXT
from inference.demo.batches import batches
from inference.demo.corpus import conversations
from inference.demo.evaluate import load_tokenizer, summary
from inference.demo.heldout import Question, is_right
from inference.demo.tokenizer import encode
from inference.demo.train import Master, loss_of, share_at


def tiny() -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 1, "intermediate_size": 64}
    return LlamaForCausalLM(LlamaConfig(vocab_size=3072, num_hidden_layers=1, tie_word_embeddings=True, **shape))


def test_targets_are_the_next_tokens_of_the_assistant() -> None:
    tokenizer = load_tokenizer(MODEL_PATH)
    rows = {tuple(row[0]): row[1] for row in (encode(tokenizer, item) for item in islice(conversations(2), 800))}
    ids, targets = next(batches(tokenizer, 2, 2048))
    for row, wanted in zip(ids.tolist(), targets.tolist(), strict=True):
        full = next(ids for ids in rows if list(ids) == row[: len(ids)] and set(row[len(ids) :]) <= {0})
        expected = [token if own else -100 for token, own in zip(full[1:], rows[full][1:], strict=True)]
        assert wanted[: len(full) - 1] == expected
        assert set(wanted[len(full) - 1 :]) <= {-100}


def test_batches_stay_within_their_tokens_and_the_context() -> None:
    for ids, _ in islice(batches(load_tokenizer(MODEL_PATH), 3, 4096), 30):
        assert ids.numel() <= 4096
        assert ids.shape[1] <= CONTEXT


def test_equal_seeds_give_equal_batches() -> None:
    tokenizer = load_tokenizer(MODEL_PATH)
    first, second = (list(islice(batches(tokenizer, 4, 2048), 5)) for _ in range(2))
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True))


def test_the_rate_warms_up_holds_and_falls_to_nothing() -> None:
    assert share_at(0, 1000) == pytest.approx(1 / 60)
    assert share_at(300, 1000) == 1.0
    assert share_at(800, 1000) == pytest.approx(0.5)
    assert share_at(999, 1000) == pytest.approx(1 / 400)


def test_steps_lower_the_loss_of_their_batch() -> None:
    batch = next(batches(load_tokenizer(MODEL_PATH), 5, 1024))
    master = Master(tiny(), 1e-2)
    before = loss_of(master.model, batch).item()
    for _ in range(5):
        loss_of(master.model, batch).backward()
        master.step(1.0)
    assert loss_of(master.model, batch).item() < before - 0.5


def test_a_checkpoint_brings_weights_and_step_back(tmp_path: Path) -> None:
    batch = next(batches(load_tokenizer(MODEL_PATH), 6, 1024))
    master = Master(tiny(), 1e-2)
    loss_of(master.model, batch).backward()
    master.step(1.0)
    torch.save(master.state(1), tmp_path / "checkpoint.pt")
    other = Master(tiny(), 1e-2)
    assert other.load(tmp_path / "checkpoint.pt") == 1
    assert loss_of(other.model, batch).item() == loss_of(master.model, batch).item()


@pytest.mark.parametrize(
    ("accept", "exact", "answer", "right"),
    [
        ("Paris", False, "The capital of France is Paris.", True),
        ("= 5", False, "2 + 3 = 57.", False),
        ("= 5", False, "2 + 3 = 5.", True),
        ("cold", False, "The opposite is COLD", True),
        ("cold", False, "The opposite is colder.", False),
        ("HELLO", True, "HELLO.", True),
        ("HELLO", True, "hello", False),
        ("HELLO", True, "HELLO there", False),
    ],
)
def test_an_answer_is_judged_by_whole_words_or_letter_for_letter(
    accept: str, exact: bool, answer: str, right: bool
) -> None:
    assert is_right(Question("", ("",), (accept,), exact), answer) is right


def test_the_summary_counts_by_category_and_lists_what_was_wrong() -> None:
    asked = [Question("facts", ("q",), ("yes",)), Question("facts", ("r",), ("no",))]
    counted = summary([(asked[0], "yes"), (asked[1], "yes")])
    assert counted["categories"] == {"facts": {"right": 1, "total": 2}}
    assert counted["wrong"] == [{"category": "facts", "question": "r", "answer": "yes", "accepted": ("no",)}]
