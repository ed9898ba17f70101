"""Log probabilities of tokens, spelled out for readers who do not have the tokenizer."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tokenizers import decoders

from ...engine.detokenizer import byte_speller
from ...engine.outputs import TokenLogprobs
from ...messages import Chance, Choice

LEAST = -9999.0  # JSON has no infinity: OpenAI's number for a token that could not come
REMEMBERED = 1 << 14  # tokens
SPACE = "\u2581"  # as SentencePiece writes it
BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class Speller:
    """``choice`` puts the engine's numbers into words."""

    def __init__(self, tokenizer: Any) -> None:
        self._spell = lru_cache(REMEMBERED)(_choose_speller(tokenizer))

    def choice(self, token_id: int, logprobs: TokenLogprobs) -> Choice:
        best = tuple(self._chance(likely, value) for likely, value in logprobs.best)
        return Choice(self._chance(token_id, logprobs.chosen), best)

    def _chance(self, token_id: int, logprob: float) -> Chance:
        raw = self._spell(token_id)
        return Chance(raw.decode(errors="replace"), max(LEAST, logprob), tuple(raw))


def _choose_speller(tokenizer: Any) -> Callable[[int], bytes]:
    """The bytes of a token as they stand in a text; special tokens by their names."""
    byte_level = tokenizer.is_fast and isinstance(tokenizer.backend_tokenizer.decoder, decoders.ByteLevel)
    spell = byte_speller(tokenizer.backend_tokenizer) if byte_level else lambda token_id: b""
    return lambda token_id: spell(token_id) or _name(tokenizer, token_id)


def _name(tokenizer: Any, token_id: int) -> bytes:
    """A token's name; models have numbers beyond their tokenizer's, whose name is empty."""
    name = str(tokenizer.convert_ids_to_tokens(token_id) or "") if token_id < len(tokenizer) else ""
    if byte := BYTE.fullmatch(name):
        return bytes([int(byte[1], 16)])
    return name.replace(SPACE, " ").encode()
