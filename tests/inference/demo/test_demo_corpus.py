"""The corpus: deterministic, split before it is drawn, and every conversation fit for the chat template."""

import random
from itertools import islice

import pytest

from inference.demo.corpus import LONGEST, TITLE_LIMIT, TITLE_PROMPT, Conversation, conversations, digest
from inference.demo.corpus_arithmetic import statement
from inference.demo.corpus_exchange import parse_pairs, read_cards
from inference.demo.corpus_facts import relation
from inference.demo.corpus_holdout import belongs, is_held_out, normalise, written_questions
from inference.demo.corpus_instructions import ABOUT, BASE, HOW, first_sentence
from inference.demo.corpus_noise import slip
from inference.demo.corpus_unknown import title_of
from inference.demo.heldout import questions


@pytest.fixture(scope="module")
def sample() -> list[Conversation]:
    return list(islice(conversations(1), 4000))


def test_the_same_seed_gives_the_same_corpus_byte_for_byte() -> None:
    assert digest(5, 300) == digest(5, 300)


def test_another_seed_gives_another_corpus() -> None:
    assert digest(5, 300) != digest(6, 300)


def test_no_held_out_question_is_trained_on(sample: list[Conversation]) -> None:
    alone = {
        normalise(question.messages[0])
        for question in questions()
        if len(question.chat()) == 2 and question.system == BASE
    }
    trained = {
        normalise(message["content"]) for item in sample for message in item.messages if message["role"] == "user"
    }
    assert trained & alone == set()
    assert trained & written_questions() == set()


def test_no_held_out_conversation_is_trained_on(sample: list[Conversation]) -> None:
    held = {tuple(message["content"] for message in question.chat()) for question in questions()}
    trained = {tuple(message["content"] for message in item.messages[:-1]) for item in sample}
    assert trained & held == set()


def test_a_held_out_sum_is_missing_in_every_phrasing(sample: list[Conversation]) -> None:
    keys = {turn.key for item in sample for turn in item.exchanges if turn.key.startswith("sum ")}
    assert len(keys) > 500
    assert not any(is_held_out(key) for key in keys)


def test_roles_alternate_and_the_assistant_has_the_last_word(sample: list[Conversation]) -> None:
    for item in sample:
        roles = [message["role"] for message in item.messages if message["role"] != "system"]
        assert roles == ["user", "assistant"] * (len(roles) // 2)


def test_no_message_is_empty(sample: list[Conversation]) -> None:
    assert all(message["content"].strip() for item in sample for message in item.messages)


def test_system_messages_have_the_shapes_the_web_sends(sample: list[Conversation]) -> None:
    for item in sample:
        first = item.messages[0]
        if first["role"] == "system" and first["content"] != TITLE_PROMPT:
            parts = first["content"].split("\n\n")
            assert parts[0] == BASE
            assert [part.split(": ")[0] + ": " for part in parts[1:]] in ([], [ABOUT], [HOW], [ABOUT, HOW])


def test_title_jobs_carry_one_short_message_and_a_short_title(sample: list[Conversation]) -> None:
    jobs = [item.messages for item in sample if item.messages[0]["content"] == TITLE_PROMPT]
    assert len(jobs) > 100
    for _, asked, title in jobs:
        assert len(asked["content"]) <= TITLE_LIMIT
        assert 2 <= len(title["content"].split()) <= 7
        assert not title["content"].endswith(".")


def test_conversations_stay_near_the_context(sample: list[Conversation]) -> None:
    assert (
        max(sum(len(m["content"]) for m in item.messages) for item in sample if len(item.exchanges) > 3)
        < LONGEST + 1000
    )


@pytest.mark.parametrize("name", ["facts", "smalltalk", "product", "writing"])
def test_no_paraphrase_belongs_to_two_cards(name: str) -> None:
    asked = [question for card in read_cards(name) for question in {normalise(question) for question in card.questions}]
    assert sorted(asked) == sorted(set(asked))


def test_follow_ups_stay_in_the_relation() -> None:
    rng = random.Random(3)
    scenes = [scene for _ in range(400) if len(scene := relation(rng)) > 1]
    assert len(scenes) > 30
    assert all(
        turn.title.split()[0] == scene[0].title.split()[0]
        for scene in scenes
        for turn in scene
        if turn.title[:7] == "Capital"
    )


def test_belongs_takes_a_scene_as_held_out_when_one_turn_is() -> None:
    rng = random.Random(4)
    scenes = (relation(rng) for _ in range(1000))
    scene = next(scene for scene in scenes if any(is_held_out(turn.key) for turn in scene))
    assert belongs(scene, held_out=True)
    assert not belongs(scene, held_out=False)


@pytest.mark.parametrize(
    ("sign", "a", "b", "text"),
    [
        ("+", 2, 3, "2 + 3 = 5."),
        ("-", 3, 9, "3 - 9 = -6."),
        ("×", 7, 8, "7 × 8 = 56."),
        ("÷", 12, 3, "12 ÷ 3 = 4."),
    ],
)
def test_sums_are_stated_correctly(sign: str, a: int, b: int, text: str) -> None:
    assert statement(sign, a, b) == text


def test_normalise_keeps_words_and_signs_only() -> None:
    assert normalise("  What's  12+7, PLEASE?") == "whats 12 + 7 please"


def test_a_slip_changes_the_inside_of_a_word_only() -> None:
    slips = {slip(random.Random(seed), "garden") for seed in range(50)}
    assert all(word[0] == "g" and 5 <= len(word) <= 7 for word in slips)


def test_first_sentence_leaves_abbreviations_and_code_alone() -> None:
    assert (
        first_sentence("The Hobbit was written by J. R. R. Tolkien. It is long.")
        == "The Hobbit was written by J. R. R. Tolkien."
    )
    assert first_sentence("Here:\n\n```python\na. b\n```") == "Here:\n\n```python\na. b\n```"


def test_titles_keep_the_telling_words() -> None:
    assert title_of("how do i fix my dishwasher") == "Fix dishwasher"
    assert title_of("explain inflation") == "About inflation"


def test_pairs_are_parsed_with_their_own_signs() -> None:
    assert parse_pairs("a b=c; the d=e, f.") == [("a b", "c"), ("the d", "e, f.")]
