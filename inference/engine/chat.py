"""Messages of a conversation as the tokens that a model expects, by the model's own chat template."""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError

from ..errors import InvalidMessages, UnsupportedModel

SHOWN = 200  # characters of a template's own words

Messages = list[dict[str, str]]  # {"role": ..., "content": ...}


class ChatRenderer:
    """``tokenizer``: a transformers tokenizer.

    Some templates refuse a system message. For those it becomes the beginning of the first user message,
    which is how their models were trained to read one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marks = tuple(tokenizer.get_added_vocab())
        self.shared_prefix = lru_cache(maxsize=64)(self._shared_prefix)
        self._takes_system = bool(tokenizer.chat_template) and self._accepts_system()

    def render(self, messages: Messages, resume_text: str = "", lead: str = "") -> list[int]:
        """Tokens up to where the answer begins, or goes on after ``resume_text``; ``lead``, of the operator's, is
        between the template's words and that.

        Raises ``UnsupportedModel`` when the model has no chat template, and ``InvalidMessages`` when the template
        refuses the messages.
        """
        if not self._tokenizer.chat_template:
            raise UnsupportedModel("This model has no chat template; use one that was trained for chat.")
        if not self._takes_system:
            messages = _fold_system(messages)
        try:
            return self._encode(messages, resume_text, lead)
        except (TemplateError, LookupError, TypeError, ValueError) as error:  # what templates run into
            raise InvalidMessages(f"The model's chat template refuses these messages: {str(error)[:SHOWN]}") from error

    def _shared_prefix(self, operator_text: str) -> list[int]:
        """Tokens of a prompt whose system message begins with ``operator_text``, up to the end of that text.

        A prompt may still differ before: its next character may change how the last ones are cut into tokens.
        """
        others = secrets.token_hex(8)
        messages = [{"role": "system", "content": operator_text + others}, {"role": "user", "content": others}]
        text = self._template(messages if self._takes_system else _fold_system(messages))
        return self._tokens(text.partition(others)[0])

    def _encode(self, messages: Messages, resume_text: str, lead: str) -> list[int]:
        """A person who types ``</s>`` has typed four characters, not the end of a turn."""
        if not any(mark in text for text in _texts(messages, resume_text) for mark in self._marks):
            return self._tokens(self._template(messages) + lead + resume_text)
        names = [f"content-{secrets.token_hex(8)}" for _ in messages]
        hidden = [message | {"content": name} for message, name in zip(messages, names, strict=True)]
        contents = dict(zip(names, (message["content"] for message in messages), strict=True))
        text = self._template(hidden) + lead
        parts, found = re.split("|".join(names), text), re.findall("|".join(names), text)
        token_ids = self._tokens(parts[0])
        for name, part in zip(found, parts[1:], strict=True):
            token_ids += self._tokens(contents[name], plain=True) + self._tokens(part)
        return token_ids + self._tokens(resume_text, plain=True)

    def _tokens(self, text: str, *, plain: bool = False) -> list[int]:
        """``plain`` text has no special tokens, whatever it spells."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False, split_special_tokens=plain)
        return ids

    def _template(self, messages: Messages) -> str:
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)

    def _accepts_system(self) -> bool:
        try:
            self._template([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
        except TemplateError:
            return False
        return True


def _texts(messages: Messages, resume_text: str) -> list[str]:
    return [*(message["content"] for message in messages), resume_text]


def _fold_system(messages: Messages) -> Messages:
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return messages
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
