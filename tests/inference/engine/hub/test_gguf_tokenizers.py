"""The tokenizer of a GGUF file gives the ids that its model was trained with."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers
from transformers import AutoTokenizer

from inference.engine.hub import resolve_model
from inference.engine.hub.gguf.metadata import Metadata
from inference.engine.hub.gguf.pre_tokenizers import PRE_TOKENIZERS
from inference.engine.hub.gguf.tokenizer import read_tokenizer
from inference.errors import UnsupportedModel
from tests.inference.engine.hub.gguf_files import TEMPLATE, write_gguf
from tests.inference.engine.hub.hard_texts import TEXTS, drawn_texts

Make = Callable[..., Path]
Change = Callable[[Any], None]
HELLO = [{"role": "user", "content": "the dog"}]


def load(make_model: Make, tmp_path: Path, change: Change = lambda writer: None) -> tuple[Any, Any]:
    """Ours, from the file, and the one that the file was written from."""
    folder = make_model("llama")
    write_gguf(folder, tmp_path / "m.gguf", change=change)
    ours = resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None)
    return AutoTokenizer.from_pretrained(ours), AutoTokenizer.from_pretrained(folder)


def test_byte_level_ids_texts_marks_and_template_are_the_same(make_model: Make, tmp_path: Path) -> None:
    ours, theirs = load(make_model, tmp_path)
    for text in [*TEXTS, *drawn_texts(5), "<|user|>the dog</s>", "a <s>b"]:
        assert ours.encode(text) == theirs.encode(text)
        assert ours.decode(ours.encode(text)) == text
        assert ours.encode(text, split_special_tokens=True) == theirs.encode(text, split_special_tokens=True)
    assert (ours.bos_token_id, ours.eos_token_id, ours.pad_token_id) == (1, 2, 0)
    assert set(ours.all_special_ids) >= set(theirs.all_special_ids)
    assert ours.chat_template == TEMPLATE
    assert ours.apply_chat_template(HELLO, tokenize=False) == theirs.apply_chat_template(HELLO, tokenize=False)


@pytest.mark.parametrize(
    ("begin", "end", "expected"), [(False, False, []), (True, False, [1]), (False, True, [2]), (True, True, [1, 2])]
)
def test_a_text_begins_and_ends_as_the_file_says(
    begin: bool, end: bool, expected: list[int], make_model: Make, tmp_path: Path
) -> None:
    def say(writer: Any) -> None:
        writer.kv_data[0].pop("tokenizer.ggml.add_bos_token")
        writer.add_add_bos_token(begin)
        writer.add_add_eos_token(end)

    ours, theirs = load(make_model, tmp_path, say)
    plain = theirs.encode("the dog")
    assert ours.encode("the dog") == [1] * begin + plain + [2] * end
    assert ours.encode("the dog", add_special_tokens=False) == plain


def test_every_token_that_ends_a_turn_ends_an_answer(make_model: Make, tmp_path: Path) -> None:
    """A file names one end of the text and one of a turn, and may call either an ordinary token."""
    import json

    def rename(writer: Any) -> None:
        tokens = writer.kv_data[0]["tokenizer.ggml.tokens"].value
        kinds = writer.kv_data[0]["tokenizer.ggml.token_type"].value
        tokens[20], kinds[20] = "<|im_end|>", 1
        writer.add_uint32("tokenizer.ggml.eot_token_id", 4)

    ours, _ = load(make_model, tmp_path, rename)
    folder = resolve_model(str(tmp_path / "m.gguf"), lambda share, detail: None)
    assert json.loads((folder / "generation_config.json").read_text())["eos_token_id"] == [2, 4, 20]
    assert ours.encode("<|im_end|>") == [20]
    assert 20 not in ours.encode("<|im_end|>", split_special_tokens=True)


CUT = {  # by hand, from what each pattern says; a space is written as an underscore
    "gpt-2": ("It's_2024!!__x\n\n_y", ["It", "'s", "_2024", "!!", "_", "_x", "\n\n", "_y"]),
    "smollm": ("It's_2024!!__x", ["It", "'s", "_", "2", "0", "2", "4", "!!", "_", "_x"]),
    "llama-bpe": ("It'S_20245!!\n__x/y\r\n_", ["It", "'S", "_", "202", "45", "!!\n", "_", "_x", "/y", "\r\n", "_"]),
    "qwen2": ("It'S_2024!!\n__x/y", ["It", "'S", "_", "2", "0", "2", "4", "!!\n", "_", "_x", "/y"]),
    "tekken": ("ÉCOLE_camelCase12//\n", ["ÉCOLE", "_camel", "Case", "1", "2", "//\n"]),
    "gpt-4o": ("ÉCOLE_camelCase's1234", ["ÉCOLE", "_camel", "Case's", "123", "4"]),
    "deepseek-v3": ("abc12345你好!x_y", ["abc", "123", "45", "你好", "!x", "_y"]),
    "deepseek-coder": ("a_b12!_你好\n", ["a", "_b", "1", "2", "!", "_", "你好", "\n"]),
    "deepseek-llm": ("a_b123!_你好\n", ["a", "_b", "123", "!", "_", "你好", "\n"]),
    "falcon": ("a_b12345!_c", ["a", "_b", "123", "45", "!", "_c"]),
    "qwen35": ("नमस्ते_12", ["नमस्ते", "_", "1", "2"]),
}


@pytest.mark.parametrize("name", CUT)
def test_words_are_cut_as_the_name_says(name: str) -> None:
    text, expected = CUT[name]
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in PRE_TOKENIZERS[name].patterns]
    found = pre_tokenizers.Sequence(splits).pre_tokenize_str(text.replace("_", " "))
    assert [piece.replace(" ", "_") for piece, _ in found] == expected


def test_every_way_of_cutting_words_loses_nothing() -> None:
    for name, cut in PRE_TOKENIZERS.items():
        splits = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in cut.patterns])
        for text in TEXTS:
            assert "".join(piece for piece, _ in splits.pre_tokenize_str(text)) == text, name


# SentencePiece

PIECES = ["a", "b", "c", "d", "ab", "bc", "abc", "cd", "▁", "▁▁", "▁▁▁▁", "▁a", "▁ab", "aa", "aaa", "bb", "é", "▁é"]
BYTES = [f"<0x{number:02X}>" for number in range(256)]


def sentencepiece(**told: Any) -> tuple[Tokenizer, list[str]]:
    tokens = ["<unk>", "<s>", "</s>", *BYTES, *PIECES, "<|user|>", "<tag>"]
    kinds = [2, 3, 3, *[6] * 256, *[1] * len(PIECES), 3, 4]
    scores = [*[0.0] * 259, *(-float(number) for number in range(len(PIECES))), -1000.0, -1000.0]
    values = {"general.architecture": "llama", "tokenizer.ggml.model": "llama", "tokenizer.ggml.tokens": tuple(tokens)}
    values |= {"tokenizer.ggml.token_type": tuple(kinds), "tokenizer.ggml.scores": tuple(scores)}
    values |= {f"tokenizer.ggml.{name}_token_id": number for number, name in enumerate(("unknown", "bos", "eos"))}
    values |= {f"tokenizer.ggml.{name}": value for name, value in told.items()}
    return read_tokenizer(Metadata("s.gguf", values))[0], tokens


def by_the_book(text: str, tokens: list[str]) -> list[str]:
    """SentencePiece's BPE as its authors tell it: join the two neighbours that make the likeliest token, the leftmost
    of equals; letters that are no token become bytes.
    """
    pieces = list(text.replace(" ", "▁"))
    while True:
        joints = [left + right for left, right in pairwise(pieces)]
        known = [(PIECES.index(joint), at) for at, joint in enumerate(joints) if joint in PIECES]
        if not known:
            break
        at = min(known)[1]
        pieces[at : at + 2] = [joints[at]]
    return [out for piece in pieces for out in ([piece] if piece in PIECES else byte_pieces(piece))]


def byte_pieces(piece: str) -> list[str]:
    return [f"<0x{number:02X}>" for number in piece.encode()]


@given(st.text(alphabet="abcdé\n \u2581x😀", max_size=40))
def test_sentencepiece_joins_the_likeliest_first(text: str) -> None:
    tokenizer, tokens = sentencepiece(add_space_prefix=False)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert [tokens[number] for number in ids] == by_the_book(text, tokens)
    assert tokenizer.decode(ids) == text.replace("▁", " ")


def test_a_space_stands_before_a_text_and_after_every_mark_unless_the_file_says_no() -> None:
    tokenizer, tokens = sentencepiece()
    ids = tokenizer.encode("ab<|user|>ab<tag>ab").ids
    assert [tokens[number] for number in ids] == ["<s>", "▁ab", "<|user|>", "▁ab", "<tag>", "▁ab"]
    assert tokenizer.decode(tokenizer.encode(" ab c").ids) == " ab c"
    tokenizer, tokens = sentencepiece(add_space_prefix=False, add_bos_token=False)
    assert [tokens[number] for number in tokenizer.encode("ab<|user|>ab").ids] == ["ab", "<|user|>", "ab"]


def test_what_spells_a_mark_is_not_joined_to_one() -> None:
    tokenizer, tokens = sentencepiece(add_space_prefix=False)
    tokenizer.encode_special_tokens = True
    ids = tokenizer.encode("</s><|user|>", add_special_tokens=False).ids
    assert not {"</s>", "<|user|>"} & {tokens[number] for number in ids}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"tokens": ("a", "a")}, "two tokens of one text"),
        ({"tokens": ()}, "does not say its tokenizer.ggml.tokens"),
        ({"tokens": ("a", 7)}, "something else than a list of str"),
        ({"token_type": (1, 1)}, "tells the kind of 2 of its"),
        ({"eos_token_id": -2}, "says tokenizer.ggml.eos_token_id is -2"),
    ],
)
def test_a_vocabulary_that_does_not_hold_together_is_refused(told: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedModel, match=words):
        sentencepiece(**told)


def test_a_role_beyond_the_vocabulary_is_nobodys() -> None:
    tokenizer, _ = sentencepiece(bos_token_id=99_999)
    assert 1 not in tokenizer.encode("ab").ids
