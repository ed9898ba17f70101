"""The demo model's tokenizer: byte-level BPE over the corpus, digits one by one, and the chat template."""

from collections.abc import Iterator
from itertools import islice
from typing import cast

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from .corpus import Conversation, conversations

VOCABULARY = 3072
SAMPLE = 60_000  # conversations the merges are learned from
PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
# Words with their leading space, digits alone (so that sums are digit by digit), runs of signs, line breaks.
PIECES = (
    r"'(?i:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)


def train_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Learns the merges from the training side of the corpus; equal seeds give equal merges."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    bpe.train_from_iterator(_texts(seed), _trainer())
    return wrap(bpe)


def _trainer() -> trainers.BpeTrainer:
    return trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )


def _texts(seed: int) -> Iterator[str]:
    for item in islice(conversations(seed), SAMPLE):
        yield from (message["content"] for message in item.messages)


def wrap(bpe: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )


def encode(tokenizer: PreTrainedTokenizerFast, item: Conversation) -> tuple[list[int], list[bool]]:
    """Token ids of a conversation as its chat template renders it, and which of them the assistant wrote.

    The end-of-turn token counts as written by the assistant: the model has to learn to stop.
    """
    ids: list[int] = []
    own: list[bool] = []
    for message in item.messages:
        role = cast(int, tokenizer.convert_tokens_to_ids(f"<|{message['role']}|>"))
        content = tokenizer.encode(message["content"], add_special_tokens=False, split_special_tokens=True)
        ids += [role, *content, tokenizer.eos_token_id]
        own += [False] + [message["role"] == "assistant"] * (len(content) + 1)
    return ids, own
