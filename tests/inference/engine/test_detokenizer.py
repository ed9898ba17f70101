"""Streamed text is the whole text: no broken character, no leaked stop string, no lost space."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from inference.engine.detokenizer import (
    LONGEST_WAIT,
    ByteDecoder,
    Decoder,
    Detokenizer,
    IncrementalDecoder,
    PieceDecoder,
    choose_decoder,
)

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


TOKENIZERS = {"byte level": byte_level(), "bytes": byte_level(), "sentencepiece": sentencepiece()}
CHOSEN = {
    name: choose_decoder(PreTrainedTokenizerFast(tokenizer_object=TOKENIZERS[name]))
    for name in ("bytes", "sentencepiece")
}


def make_decoder(name: str, context: Sequence[int] = ()) -> Decoder:
    return CHOSEN[name](context) if name in CHOSEN else IncrementalDecoder(TOKENIZERS[name].decode, context)


@pytest.fixture(params=TOKENIZERS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def test_the_kind_of_a_tokenizer_decides_how_its_bytes_are_read() -> None:
    assert isinstance(CHOSEN["bytes"]([]), ByteDecoder)
    assert isinstance(CHOSEN["sentencepiece"]([]), PieceDecoder)
    other = Tokenizer.from_str(TOKENIZERS["bytes"].to_str())
    other.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Strip("x", 0, 0)])
    assert isinstance(choose_decoder(PreTrainedTokenizerFast(tokenizer_object=other))([]), IncrementalDecoder)


@pytest.mark.parametrize("fast", ["bytes", "sentencepiece"])
def test_special_tokens_are_left_out_and_added_words_are_not(fast: str) -> None:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(TOKENIZERS[fast].to_str()))
    wrapped.add_special_tokens({"eos_token": "<end>"})
    wrapped.add_tokens(["<think>", "é b"])
    decoder = choose_decoder(wrapped)(wrapped.encode("b", add_special_tokens=False))
    ids = [*wrapped.convert_tokens_to_ids(["<think>", "é b", "<end>"]), 10_000]
    assert (
        "".join(decoder.push(token_id) for token_id in ids).split()
        == wrapped.decode(ids, skip_special_tokens=True).split()
    )


@given(tokens=st.lists(st.integers(0, 257), max_size=20))
def test_any_bytes_decode_as_the_tokenizer_itself_does(tokens: list[int]) -> None:
    decoder = make_decoder("bytes")
    text = "".join(decoder.push(token_id) for token_id in tokens)
    assert TOKENIZERS["bytes"].decode(tokens).startswith(text)
    assert TOKENIZERS["bytes"].decode([*tokens, 64]).startswith(text + decoder.push(64))


SENTENCEPIECE = TOKENIZERS["sentencepiece"].get_vocab_size()
A = TOKENIZERS["sentencepiece"].token_to_id("a")
RUNS = st.lists(st.integers(0, 255).map(lambda byte: byte + 1), max_size=9) | TEXT.map(
    lambda text: [byte + 1 for byte in text.encode()]
)
PIECES = st.lists(st.integers(257, SENTENCEPIECE - 1), max_size=4)
IDS = st.lists(RUNS | PIECES, max_size=8).map(lambda parts: [token_id for part in parts for token_id in part])


def spelled(ids: Sequence[int]) -> str:
    """What they say: bytes that follow each other are text as far as they can be."""
    raw = b"".join(
        bytes([token_id - 1]) if token_id <= 256 else TOKENIZERS["sentencepiece"].id_to_token(token_id).encode()
        for token_id in ids
    )
    return raw.replace("▁".encode(), b" ").decode(errors="replace")


@given(ids=IDS)
def test_random_tokens_of_sentencepiece_say_what_they_spell(ids: list[int]) -> None:
    decoder = make_decoder("sentencepiece", [A])
    text = "".join(decoder.push(token_id) for token_id in ids)
    assert spelled([*ids, A]) == text + decoder.push(A), "an a, after which nothing is waited for"
    if BROKEN not in spelled(ids):
        assert TOKENIZERS["sentencepiece"].decode([A, *ids, A]) == "a" + spelled([*ids, A])


@given(ids=IDS)
def test_no_more_than_three_bytes_are_waited_for(ids: list[int]) -> None:
    for name, known in (("sentencepiece", spelled), ("bytes", None), ("byte level", None)):
        decoder, text = make_decoder(name, [A] if known else []), ""
        numbers = ids if known else [token_id % 256 for token_id in ids]
        decode = known or TOKENIZERS[name].decode
        for count, token_id in enumerate(numbers):
            text += decoder.push(token_id)
            least = decode(numbers[: max(0, count + 1 - LONGEST_WAIT)]).rstrip(BROKEN)
            assert len(text) >= len(least)


@pytest.mark.parametrize("name", TOKENIZERS)
@pytest.mark.parametrize("text", [BROKEN, f"a{BROKEN}", f"{BROKEN}b", f"a {BROKEN}{BROKEN}"])
def test_a_replacement_character_of_the_text_itself_is_kept(name: str, text: str) -> None:
    pieces = stream(Detokenizer(make_decoder(name)), TOKENIZERS[name].encode(text).ids)
    assert "".join(pieces) == text


def test_a_replacement_character_that_is_one_token_is_kept_by_every_decoder() -> None:
    words = ["a", BROKEN, "b"]

    def decode(ids: list[int]) -> str:
        return "".join(words[token_id] for token_id in ids)

    for ids in ([1], [0, 1], [1, 0], [0, 1, 1, 1, 1, 1, 2], [1, 1, 1, 1, 1, 1]):
        assert "".join(stream(Detokenizer(IncrementalDecoder(decode)), ids)) == decode(ids)
        assert "".join(stream(Detokenizer(PieceDecoder(decode, [], {}, set())), ids)) == decode(ids)


@pytest.mark.parametrize("name", TOKENIZERS)
def test_bytes_that_are_no_text_take_no_more_than_others(name: str) -> None:
    """Their work, counted in tokens that are decoded: 4,000 of them took the engine's thread 2.3 seconds."""
    tokenizer, decoded = TOKENIZERS[name], [0]

    def decode(ids: list[int]) -> str:
        decoded[0] += len(ids)
        return str(tokenizer.decode(ids))

    invalid = tokenizer.encode("é").ids[-1] if name != "sentencepiece" else tokenizer.token_to_id("<0xA9>")
    decoder = IncrementalDecoder(decode)
    assert len("".join(decoder.push(invalid) for _ in range(4000)) + decoder.finish()) == 4000
    assert decoded[0] < 40 * 4000
    chosen = make_decoder(name)
    assert len("".join(chosen.push(invalid) for _ in range(4000)) + chosen.finish()) == 4000


def test_a_hidden_token_amid_the_bytes_of_a_character_breaks_nothing() -> None:
    wrapped = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(TOKENIZERS["sentencepiece"].to_str()))
    wrapped.add_special_tokens({"eos_token": "<end>"})
    decoder, end = choose_decoder(wrapped)([A]), wrapped.eos_token_id
    ids = [end if token_id == 0 else token_id for token_id in (0xE4 + 1, 0, 0xBD + 1, 0, 0xA0 + 1, A)]
    assert "".join(decoder.push(token_id) for token_id in ids) == "你a" == wrapped.decode(ids, skip_special_tokens=True)


@given(ids=IDS, stop=st.lists(st.sampled_from(["a", "é", "ab", " a", "😀", BROKEN, "a" + BROKEN]), max_size=2))
def test_stop_strings_are_found_in_random_tokens(ids: list[int], stop: list[str]) -> None:
    detokenizer = Detokenizer(make_decoder("sentencepiece", [A]), tuple(stop))
    shown, whole = "".join(stream(detokenizer, [*ids, A])), spelled([*ids, A])
    found = [whole.index(string) for string in stop if string in whole]
    assert (detokenizer.matched is not None) == bool(found)
    assert shown == (whole[: min(found)] if found else whole)


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
    pieces = stream(Detokenizer(make_decoder(name)), TOKENIZERS[name].encode(text).ids)
    assert "".join(pieces) == text
    assert not any(BROKEN in piece for piece in pieces)


@given(text=TEXT, stop=st.lists(st.text(st.sampled_from("ab 😀你"), min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string_and_never_shows_part_of_it(text: str, stop: list[str]) -> None:
    detokenizer = Detokenizer(make_decoder("bytes"), tuple(stop))
    shown = ""
    for token_id in TOKENIZERS["bytes"].encode(text).ids:
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


def test_a_stop_string_over_three_tokens_is_cut_off_whole(name: str) -> None:
    detokenizer = Detokenizer(make_decoder(name), ("a😀b",))
    assert "".join(stream(detokenizer, TOKENIZERS[name].encode("b éa😀bab").ids)) == "b é"
    assert detokenizer.matched == "a😀b"


def test_the_beginning_of_a_stop_string_is_held_back_and_given_when_it_was_none() -> None:
    ids = TOKENIZERS["bytes"].encode("axyxyq").ids
    detokenizer = Detokenizer(make_decoder("bytes"), ("xyz",))
    assert [detokenizer.push(token_id) for token_id in ids] == ["a", "", "", "xy", "", "xyq"]
    held = Detokenizer(make_decoder("bytes"), ("xyz",))
    assert stream(held, ids[:-1]) == ["a", "", "", "xy", "", "xy"]


def test_an_emoji_appears_with_its_last_byte(name: str) -> None:
    ids = TOKENIZERS[name].encode("😀").ids[-4:]
    assert stream(Detokenizer(make_decoder(name)), ids) == ["", "", "", "😀", ""]
    held = BROKEN if name == "byte level" else ""  # where it might be one of the text itself
    assert stream(Detokenizer(make_decoder(name)), ids[:3]) == ["", "", "", held]


def test_tokens_that_straddle_characters_show_each_as_soon_as_it_is_whole() -> None:
    pieces = {0: b"\xc3", 1: b"\xa9\xc3", 2: b"\xa9"}

    def decode(ids: list[int]) -> str:
        return b"".join(pieces[token_id] for token_id in ids).decode(errors="replace")

    assert stream(Detokenizer(IncrementalDecoder(decode)), [0, 1, 1, 2]) == ["", "é", "é", "é", ""]


def test_bytes_that_are_no_text_are_shown_as_such_once_that_is_certain() -> None:
    tokenizer = TOKENIZERS["byte level"]
    invalid = tokenizer.encode("é").ids[1]  # a continuation byte on its own
    letter = tokenizer.encode("b").ids[0]
    assert stream(Detokenizer(make_decoder("byte level")), [invalid, letter]) == ["", BROKEN + "b", ""]
    assert stream(Detokenizer(make_decoder("byte level")), [invalid] * 5) == ["", "", "", BROKEN, BROKEN, BROKEN * 3]
    assert stream(Detokenizer(make_decoder("bytes")), [invalid, letter]) == [BROKEN, "b", ""]


def test_a_sentencepiece_answer_keeps_its_space_after_text_and_loses_it_at_the_start() -> None:
    tokenizer = TOKENIZERS["sentencepiece"]
    word = tokenizer.token_to_id("▁a")
    assert stream(Detokenizer(make_decoder("sentencepiece")), [word, word]) == ["a", " a", ""]
    context = tokenizer.encode("b").ids
    assert stream(Detokenizer(make_decoder("sentencepiece", context)), [word, word]) == [" a", " a", ""]


def test_the_first_stop_string_in_the_text_is_the_one_that_matched() -> None:
    detokenizer = Detokenizer(make_decoder("bytes"), ("zz", "b", "ab"))
    assert "".join(stream(detokenizer, TOKENIZERS["bytes"].encode("éabzz").ids)) == "é"
    assert detokenizer.matched == "ab"


def test_stop_strings_count_only_after_the_tokens_it_is_deaf_for() -> None:
    ids = TOKENIZERS["bytes"].encode("xqxqx").ids
    detokenizer = Detokenizer(make_decoder("bytes"), ("x",), deaf=2)
    assert stream(detokenizer, ids) == ["x", "q", "", ""]
    assert detokenizer.matched == "x"


@pytest.mark.parametrize("stop", ["]", "^b", "-a", "\\"])
def test_a_stop_string_may_begin_with_any_character(stop: str) -> None:
    ids = TOKENIZERS["bytes"].encode(f"b a{stop}ab").ids
    detokenizer = Detokenizer(make_decoder("bytes"), (stop,))
    assert ("".join(stream(detokenizer, ids)), detokenizer.matched) == ("b a", stop)
