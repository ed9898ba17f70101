"""Streamed text is the whole text: no broken character, no leaked stop string, no lost space."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from inference.engine.detokenizer import Detokenizer

BROKEN = "\N{REPLACEMENT CHARACTER}"
TEXT = st.text(st.characters(exclude_characters=BROKEN, exclude_categories=("Cs",)), max_size=30) | st.text(
    st.sampled_from("ab 😀👍🏽你好é\n"), max_size=40
)


def byte_level() -> Tokenizer:
    """One token per byte, and one for each of a few pairs."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)} | {"ab": 256, "Ġa": 257}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b"), ("Ġ", "a")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def sentencepiece() -> Tokenizer:
    """Like Llama 2's: a space before the first word, words marked by it, unknown characters as bytes."""
    vocabulary = {"<unk>": 0} | {f"<0x{byte:02X}>": byte + 1 for byte in range(256)}
    for piece in ("▁", "a", "b", "é", "▁a", "ab"):
        vocabulary[piece] = len(vocabulary)
    bpe = models.BPE(vocabulary, [("▁", "a"), ("a", "b")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


TOKENIZERS = {"byte level": byte_level(), "sentencepiece": sentencepiece()}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TOKENIZERS[request.param]


def stream(detokenizer: Detokenizer, token_ids: list[int]) -> list[str]:
    """The pieces up to the end, the last from ``finish``."""
    pieces = []
    for token_id in token_ids:
        pieces.append(detokenizer.push(token_id))
        if detokenizer.matched is not None:
            break
    return [*pieces, detokenizer.finish()]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=TEXT)
def test_the_pieces_are_the_whole_text_and_no_character_is_broken(name: str, text: str) -> None:
    tokenizer = TOKENIZERS[name]
    pieces = stream(Detokenizer(tokenizer.decode), tokenizer.encode(text).ids)
    assert "".join(pieces) == text
    assert not any(BROKEN in piece for piece in pieces)


@given(text=TEXT, stop=st.lists(st.text(st.sampled_from("ab 😀你"), min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string_and_never_shows_part_of_it(text: str, stop: list[str]) -> None:
    tokenizer = TOKENIZERS["byte level"]
    detokenizer = Detokenizer(tokenizer.decode, stop=tuple(stop))
    shown = ""
    for token_id in tokenizer.encode(text).ids:
        shown += detokenizer.push(token_id)
        assert not any(string in shown for string in stop)
        if detokenizer.matched is not None:
            break
    shown += detokenizer.finish()
    found = [text.index(string) for string in stop if string in text]
    assert (detokenizer.matched is not None) == bool(found)
    assert text.startswith(shown)
    assert not any(string in shown for string in stop)
    if not found:
        assert shown == text


def test_a_stop_string_over_three_tokens_is_cut_off_whole(tokenizer: Tokenizer) -> None:
    detokenizer = Detokenizer(tokenizer.decode, stop=("a😀b",))
    assert "".join(stream(detokenizer, tokenizer.encode("b éa😀bab").ids)) == "b é"
    assert detokenizer.matched is not None


def test_the_beginning_of_a_stop_string_is_held_back_and_given_when_it_was_none() -> None:
    tokenizer = TOKENIZERS["byte level"]
    ids = tokenizer.encode("axyxyq").ids
    detokenizer = Detokenizer(tokenizer.decode, stop=("xyz",))
    assert [detokenizer.push(token_id) for token_id in ids] == ["a", "", "", "xy", "", "xyq"]
    held = Detokenizer(tokenizer.decode, stop=("xyz",))
    assert stream(held, ids[:-1]) == ["a", "", "", "xy", "", "xy"]


def test_an_emoji_appears_with_its_last_byte(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("😀").ids[-4:]
    assert stream(Detokenizer(tokenizer.decode), ids) == ["", "", "", "😀", ""]
    assert stream(Detokenizer(tokenizer.decode), ids[:3]) == ["", "", "", ""]


def test_tokens_that_straddle_characters_show_each_as_soon_as_it_is_whole() -> None:
    pieces = {0: b"\xc3", 1: b"\xa9\xc3", 2: b"\xa9"}

    def decode(ids: list[int]) -> str:
        return b"".join(pieces[token_id] for token_id in ids).decode(errors="replace")

    assert stream(Detokenizer(decode), [0, 1, 1, 2]) == ["", "é", "é", "é", ""]


def test_bytes_that_are_no_text_are_shown_as_such_once_that_is_certain() -> None:
    tokenizer = TOKENIZERS["byte level"]
    invalid = tokenizer.encode("é").ids[1]  # a continuation byte on its own
    letter = tokenizer.encode("b").ids[0]
    assert stream(Detokenizer(tokenizer.decode), [invalid, letter]) == ["", BROKEN + "b", ""]


def test_a_sentencepiece_answer_keeps_its_space_after_text_and_loses_it_at_the_start() -> None:
    tokenizer = TOKENIZERS["sentencepiece"]
    word = tokenizer.token_to_id("▁a")
    assert stream(Detokenizer(tokenizer.decode), [word, word]) == ["a", " a", ""]
    context = tokenizer.encode("b").ids
    assert stream(Detokenizer(tokenizer.decode, context), [word, word]) == [" a", " a", ""]
