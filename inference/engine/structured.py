"""Answers that match a JSON schema, a regular expression or a choice, by llguidance.

A grammar is compiled when its request is added and kept for the next one with the same. What compiling
and every later step may cost is bounded: by the length of the text here, by llguidance's own fuel beyond.
The first grammar of a process also indexes the vocabulary: about a second for 150,000 tokens.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from ..errors import InvalidStructure
from .sampling_params import StructuredOutputsParams
from .schemas import all_parts, find_endless

MAX_CHARACTERS = 1 << 16
MAX_COMPILED = 64
LIMITS = LLParserLimits(max_lexer_states=20_000, verbose_errors=False)  # a state takes up to 2 kB
SEARCH_SECONDS = 0.05  # for a fault; other answers wait meanwhile
DEFINITIONS = ("$defs", "definitions")
COLLECTIONS = (*DEFINITIONS, "properties", "patternProperties", "prefixItems", "anyOf", "oneOf", "allOf")
SCHEMAS = ("items", "additionalProperties", "not")
# Without an end a model that has gone astray writes spaces until its last token.
JSON_OPTIONS: Any = {"whitespace_pattern": r"[ \n\r\t]{1,16}"}


class Grammar:
    """How far one answer has come in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self._matcher = matcher

    @property
    def complete(self) -> bool:
        """Nothing can follow: the answer is over."""
        return self._matcher.is_stopped()

    @property
    def error(self) -> str:
        """Why the grammar cannot be followed any more: too costly, or a token that it does not allow."""
        return self._matcher.get_error()

    def advance(self, token_id: int) -> None:
        self._matcher.consume_token(token_id)

    def fill(self, bits: npt.NDArray[np.int32]) -> None:
        """Write one bit per token, set where the token may come next."""
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)


class GrammarCompiler:
    """``end_ids`` are allowed where the answer may end. Raises ``InvalidStructure`` for what cannot be compiled."""

    def __init__(self, tokenizer: Any, vocab_size: int, end_ids: frozenset[int]) -> None:
        self._hf_tokenizer, self._vocab_size, self._end_ids = tokenizer, vocab_size, end_ids
        self._compiled = lru_cache(MAX_COMPILED)(self._compile)

    def __call__(self, wanted: StructuredOutputsParams) -> Grammar:
        source = _source(wanted)
        if len(source) > MAX_CHARACTERS:
            raise InvalidStructure(f"A schema has at most {MAX_CHARACTERS} characters; this has {len(source)}.")
        try:
            return Grammar(self._compiled(source).deep_copy())
        except InvalidStructure as error:
            place = self._place(_schema(wanted.json)) if wanted.json is not None else ""
            raise InvalidStructure(f"{error}{place}") from None

    def _compile(self, source: str) -> LLMatcher:
        matcher = LLMatcher(self._tokenizer, source, log_level=0, limits=LIMITS)
        if why := _fault(matcher):
            raise InvalidStructure(f"The schema cannot be used: {why}")
        return matcher

    def _place(self, schema: dict[str, Any]) -> str:
        """Where in it the fault is, as far as that can be told soon; empty where it is nowhere in particular."""

        def faulty(part: dict[str, Any]) -> bool:
            return bool(_fault(LLMatcher(self._tokenizer, _json_source(part), log_level=0, limits=LIMITS)))

        pointer = find_fault(schema, faulty, time.monotonic() + SEARCH_SECONDS)
        return f" (at #{pointer})" if pointer else ""

    @cached_property
    def _tokenizer(self) -> LLTokenizer:
        try:
            text = self._hf_tokenizer.backend_tokenizer.to_str()
            return LLTokenizer(text, n_vocab=self._vocab_size, eos_token=sorted(self._end_ids) or None)
        except (AttributeError, ValueError) as error:  # not of the tokenizers library, or of a kind unknown here
            raise InvalidStructure("This model's tokenizer cannot write structured output.") from error


def _fault(matcher: LLMatcher) -> str:
    """Why nobody can follow the grammar; empty for one that can at least be begun."""
    if matcher.is_error():
        return str(matcher.get_error())
    begun = matcher.deep_copy()
    begun.compute_bitmask()
    return "nothing matches it" if begun.is_stopped() else ""


def find_fault(schema: dict[str, Any], faulty: Callable[[dict[str, Any]], bool], deadline: float) -> str:
    """The JSON pointer of the smallest part of a faulty schema that is ``faulty`` by itself, with its definitions."""
    shared = {name: schema[name] for name in DEFINITIONS if name in schema}
    pointer, going = "", True
    while going:
        going = False
        for place, part in _parts(schema):
            if time.monotonic() < deadline and faulty(shared | part):
                pointer, schema, going = pointer + place, part, True
                break
    return pointer


def _parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas right in this one, with their pointers from it."""
    for name, value in schema.items():
        if name in SCHEMAS and isinstance(value, dict):
            yield f"/{name}", value
        below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        if name in COLLECTIONS:
            yield from ((f"/{name}/{key}", part) for key, part in below if isinstance(part, dict))


def _source(wanted: StructuredOutputsParams) -> str:
    """What llguidance compiles. Its own complaints about what it is given are plain ``ValueError``s."""
    try:
        if wanted.regex is not None:
            return LLMatcher.grammar_from_regex(wanted.regex)
        if wanted.choice is not None:
            return LLMatcher.grammar_from_lark("start: " + " | ".join(map(json.dumps, wanted.choice)))
        schema = {"type": "object"} if wanted.json is None else _schema(wanted.json)
        if (pointer := find_endless(schema)) is not None:
            raise InvalidStructure(
                f"The schema cannot be used: it only refers to itself, without an end (at #{pointer})."
            )
        for _, part in all_parts(schema):
            if part.get("uniqueItems") is False:  # as without it, but llguidance does not know the word
                del part["uniqueItems"]
        return _json_source(schema)
    except InvalidStructure:
        raise
    except ValueError as error:
        raise InvalidStructure(f"It cannot be used: {error}") from error


def _json_source(schema: dict[str, Any]) -> str:
    return LLMatcher.grammar_from_json_schema(schema, overrides=JSON_OPTIONS)


def _schema(stated: str | Mapping[str, Any]) -> dict[str, Any]:
    """Through its text either way, which refuses what is nested so deep that llguidance would not survive it."""
    try:
        schema = json.loads(stated if isinstance(stated, str) else json.dumps(stated))
    except RecursionError:
        raise InvalidStructure("The schema is nested too deeply.") from None
    except (TypeError, ValueError) as error:
        raise InvalidStructure(f"The schema is not JSON: {error}") from error
    if not isinstance(schema, dict):
        raise InvalidStructure("A schema is a JSON object.")
    return schema
