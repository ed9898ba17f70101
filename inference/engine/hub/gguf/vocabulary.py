"""A GGUF file's tokens: their texts, kinds and roles, as far as every kind of tokenizer has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import TemplateProcessing

from .metadata import Metadata

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
ENDS = (  # what ends a turn, by its text: many files name only one of them, and some call it an ordinary token
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<EOT>",
    "[EOT]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
KEEPS_BEFORE = ("<unk>", "<s>", "<|endoftext|>")  # of Phi 3; all its others take the spaces behind them


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """``kinds`` has the numbers above. ``ends`` are the tokens that end an answer, the file's own first."""

    tokens: tuple[str, ...]
    kinds: tuple[int, ...]
    bos: int | None
    unknown: int | None
    padding: int | None
    ends: tuple[int, ...]
    add_bos: bool
    add_eos: bool
    strips: bool

    def ids(self) -> dict[str, int]:
        return {token: number for number, token in enumerate(self.tokens)}

    def text(self, token_id: int | None) -> str | None:
        return None if token_id is None else self.tokens[token_id]

    def of_kind(self, *kinds: int) -> Iterable[int]:
        return (number for number, kind in enumerate(self.kinds) if kind in kinds)


def read_vocabulary(metadata: Metadata, *, begins: bool) -> Vocabulary:
    """``begins``: whether a text begins with BOS where the file does not say."""
    listed = metadata.many("tokenizer.ggml.tokens", str)
    tokens = tuple(text or f"[EMPTY_{number}]" for number, text in enumerate(listed))
    if not tokens:
        raise metadata.lacks("tokenizer.ggml.tokens")
    if len(set(tokens)) < len(tokens):
        raise metadata.refuse("has two tokens of one text")
    given = metadata.many("tokenizer.ggml.token_type", int) or (NORMAL,) * len(tokens)
    if len(given) < len(tokens):
        raise metadata.refuse(f"tells the kind of {len(given)} of its {len(tokens)} tokens")
    kinds = tuple(CONTROL if token in ENDS else kind for token, kind in zip(tokens, given, strict=False))
    eos = _role(metadata, "eos", len(tokens))
    eot = _role(metadata, "eot", len(tokens))
    by_text = [number for number, token in enumerate(tokens) if token in ENDS]
    return Vocabulary(
        tokens,
        kinds,
        bos=_role(metadata, "bos", len(tokens)),
        unknown=_role(metadata, "unknown", len(tokens)),
        padding=_role(metadata, "padding", len(tokens)),
        ends=tuple(dict.fromkeys(token for token in (eos, eot, *by_text) if token is not None)),
        add_bos=metadata.flag("tokenizer.ggml.add_bos_token", begins),
        add_eos=metadata.flag("tokenizer.ggml.add_eos_token", False),
        strips=any(name in metadata.text("general.name", "").lower() for name in ("phi-3", "phi3")),
    )


def add_marks(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """The tokens that are found in a text before it is cut: control marks, and others that no merge makes."""
    special = vocabulary.of_kind(CONTROL, UNKNOWN)
    tokenizer.add_special_tokens([_mark(vocabulary, number, special=True) for number in special])
    tokenizer.add_tokens([_mark(vocabulary, number, special=False) for number in vocabulary.of_kind(USER_DEFINED)])


def add_ends(tokenizer: Tokenizer, vocabulary: Vocabulary) -> None:
    """What a text begins and ends with by itself; chat templates say it themselves."""
    bos = vocabulary.bos if vocabulary.add_bos else None
    eos = vocabulary.ends[0] if vocabulary.add_eos and vocabulary.ends else None
    if bos is None and eos is None:
        return
    before = [] if bos is None else [vocabulary.tokens[bos]]
    after = [] if eos is None else [vocabulary.tokens[eos]]
    marks = {vocabulary.tokens[number]: number for number in (bos, eos) if number is not None}
    tokenizer.post_processor = TemplateProcessing(
        single=[*before, "$A", *after],
        pair=[*before, "$A", *after, *(f"{mark}:1" for mark in before), "$B:1", *(f"{mark}:1" for mark in after)],
        special_tokens=list(marks.items()),
    )


def _mark(vocabulary: Vocabulary, number: int, *, special: bool) -> AddedToken:
    text = vocabulary.tokens[number]
    strips = vocabulary.strips and special and text not in KEEPS_BEFORE
    return AddedToken(text, special=special, normalized=False, rstrip=strips)


def _role(metadata: Metadata, name: str, tokens: int) -> int | None:
    """A token's id; none where the file names none, or one that does not exist."""
    key = f"tokenizer.ggml.{name}_token_id"
    number = metadata.whole(key) if key in metadata else tokens
    return number if number < tokens else None
