"""The tokenizer in a GGUF file -> ``tokenizer.json`` and ``tokenizer_config.json``.

Two kinds are read: ``gpt2``, byte-level BPE with merges and a way of cutting words, and ``llama``, SentencePiece's BPE,
whose merges follow from the tokens' scores. Both give the ids that llama.cpp gives.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from .metadata import Metadata
from .pre_tokenizers import PRE_TOKENIZERS, PreTokenizer
from .vocabulary import CONTROL, NORMAL, Vocabulary, add_ends, add_marks, read_vocabulary

logger = logging.getLogger(__name__)

KIND, CUT, MERGES, SCORES = (f"tokenizer.ggml.{name}" for name in ("model", "pre", "merges", "scores"))
SPACE = "\u2581"  # how SentencePiece writes one
DEFAULT = "default"
LONGEST_PIECE = 128  # characters that SentencePiece joins; a longer token is no piece of words

Made = tuple[Tokenizer, Vocabulary]


def read_tokenizer(metadata: Metadata) -> Made:
    """Raises ``UnsupportedModel`` for a kind, or a way of cutting words, that is not read."""
    kind = metadata.text(KIND)
    if kind == "gpt2":
        tokenizer, vocabulary = _byte_level(metadata)
    elif kind == "llama":
        tokenizer, vocabulary = _sentencepiece(metadata)
    else:
        words = f"has a tokenizer of the kind {kind[:40]!r}; gpt2 (BPE) and llama (SentencePiece) are read"
        raise metadata.refuse(words)
    add_marks(tokenizer, vocabulary)
    add_ends(tokenizer, vocabulary)
    return tokenizer, vocabulary


def tokenizer_config(metadata: Metadata, vocabulary: Vocabulary) -> dict[str, Any]:
    """``tokenizer_config.json``. The class is the one that takes ``tokenizer.json`` as it is."""
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "model_max_length": metadata.whole(".context_length"),
        "bos_token": vocabulary.text(vocabulary.bos),
        "eos_token": vocabulary.text(vocabulary.ends[0] if vocabulary.ends else None),
        "unk_token": vocabulary.text(vocabulary.unknown),
        "pad_token": vocabulary.text(vocabulary.padding),
        "extra_special_tokens": [vocabulary.tokens[number] for number in vocabulary.of_kind(CONTROL)],
        "chat_template": metadata.text("tokenizer.chat_template", "") or None,
    }
    return {name: value for name, value in config.items() if value is not None}


def _byte_level(metadata: Metadata) -> Made:
    cut = _pre_tokenizer(metadata)
    vocabulary = read_vocabulary(metadata, begins=cut.begins)
    merges = [_pair(metadata, merge) for merge in metadata.many(MERGES, str)]
    tokenizer = _build(metadata, vocabulary, merges, ignore_merges=cut.whole_words)
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in cut.patterns]
    bytes_as_letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, bytes_as_letters])
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, vocabulary


def _pre_tokenizer(metadata: Metadata) -> PreTokenizer:
    if CUT not in metadata:
        logger.warning("%s does not say how it cuts words; answers may be worse for it", metadata.file)
    name = metadata.text(CUT, DEFAULT)
    if name not in PRE_TOKENIZERS:
        raise metadata.refuse(f"cuts words in a way that is not read: {CUT} is {name[:40]!r}")
    return PRE_TOKENIZERS[name]


def _pair(metadata: Metadata, merge: str) -> tuple[str, str]:
    """The space between the two; the first may begin with one."""
    at = merge.find(" ", 1)
    if at < 0:
        raise metadata.refuse(f"has a merge of one piece: {merge[:40]!r}")
    return merge[:at], merge[at + 1 :]


def _sentencepiece(metadata: Metadata) -> Made:
    vocabulary = read_vocabulary(metadata, begins=True)
    merges = _merges_by_score(vocabulary, metadata.many(SCORES, float))
    unknown = vocabulary.text(vocabulary.unknown)
    tokenizer = _build(metadata, vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=True)
    prefix = metadata.flag("tokenizer.ggml.add_space_prefix", True)
    spaces = normalizers.Replace(" ", SPACE)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces] if prefix else [spaces])
    back = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*back, decoders.Strip(" ", 1, 0)] if prefix else back)
    return tokenizer, vocabulary


def _merges_by_score(vocabulary: Vocabulary, scores: tuple[float, ...]) -> list[tuple[str, str]]:
    """SentencePiece joins the two neighbours whose joint is the likeliest token; BPE asks for pairs in an order.

    Control marks are joined from no letters: what a person types is no mark.
    """
    if len(scores) < len(vocabulary.tokens):
        scores = (0.0,) * len(vocabulary.tokens)
    ids = {vocabulary.tokens[number]: number for number in vocabulary.of_kind(NORMAL)}
    pairs = (
        (-scores[number], ids[left], ids[right], left, right)
        for token, number in ids.items()
        for left, right in _splits(token)
        if left in ids and right in ids
    )
    return [(left, right) for *_, left, right in sorted(pairs)]


def _splits(token: str) -> Iterator[tuple[str, str]]:
    return ((token[:at], token[at:]) for at in range(1, len(token) if len(token) <= LONGEST_PIECE else 0))


def _build(metadata: Metadata, vocabulary: Vocabulary, merges: list[tuple[str, str]], **settings: Any) -> Tokenizer:
    try:
        return Tokenizer(models.BPE(vocabulary.ids(), merges, **settings))
    except Exception as error:  # the library raises nothing narrower
        raise metadata.refuse(f"has a tokenizer that does not hold together: {str(error)[:120]}") from error
