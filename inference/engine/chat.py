"""Messages of a conversation as the tokens that a model expects, by the model's own chat template.

The template reads the messages as they are, and what it makes of them is the prompt; but where a person has spelled a
control mark, that is text and never the mark's token (``quoting``).
"""

from __future__ import annotations

import secrets
from functools import lru_cache
from typing import Any

from jinja2.exceptions import TemplateError
from transformers.utils.chat_template_utils import _compile_jinja_template

from ..errors import InvalidMessages, UnsupportedModel
from .marks import ControlMarks
from .quoting import Quoting, joined

SHOWN = 200  # characters of a template's own words

Messages = list[dict[str, str]]  # {"role": ..., "content": ...}


class ChatRenderer:
    """``tokenizer``: a transformers tokenizer.

    Some templates refuse a system message. For those it becomes the beginning of the first user message,
    which is how their models were trained to read one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._marks = ControlMarks(tokenizer)
        self._template = _compiled(tokenizer) if tokenizer.chat_template else None
        self.shared_prefix = lru_cache(maxsize=64)(self._shared_prefix)
        self.encode_text = self._marks.encode_text
        self._takes_system = self._template is not None and self._accepts_system()

    def render(self, messages: Messages, resume_text: str = "", lead: str = "") -> list[int]:
        """Tokens up to where the answer begins, or goes on after ``resume_text``; ``lead``, of the operator's, is
        between the template's words and that.

        Raises ``UnsupportedModel`` when the model has no chat template, and ``InvalidMessages`` when the template
        refuses the messages.
        """
        if self._template is None:
            raise UnsupportedModel("This model has no chat template; use one that was trained for chat.")
        try:
            quoting, text = self._written(messages, resume_text)
        except (TemplateError, LookupError, TypeError, ValueError, AttributeError) as error:  # what they run into
            raise InvalidMessages(f"The model's chat template refuses these messages: {str(error)[:SHOWN]}") from error
        return self._marks.encode(quoting, text + lead + quoting.quote(resume_text))

    def _shared_prefix(self, operator_text: str) -> list[int]:
        """Tokens of a prompt whose system message begins with ``operator_text``, up to the end of that text.

        A prompt may still differ before: its next character may change how the last ones are cut into tokens.
        """
        others = secrets.token_hex(8)
        messages = [{"role": "system", "content": operator_text + others}, {"role": "user", "content": others}]
        quoting, text = self._written(messages, "")
        return self._marks.encode(quoting, text[: quoting.spell(text).index(others)])

    def _written(self, messages: Messages, resume_text: str) -> tuple[Quoting, str]:
        """What the template makes of the messages, and how their contents are quoted in it."""
        if not self._takes_system:
            messages = _fold_system(messages)
        quoting = Quoting(self._marks.alphabet, [*(message["content"] for message in messages), resume_text])
        quoted = [message | {"content": quoting.quote(message["content"])} for message in messages]
        return quoting, self._fill(quoted)

    def _fill(self, messages: Messages) -> str:
        assert self._template is not None
        return str.__str__(
            self._template.render(
                messages=messages,
                tools=None,
                documents=None,
                add_generation_prompt=True,
                **self._tokenizer.special_tokens_map,
            )
        )

    def _accepts_system(self) -> bool:
        try:
            self._fill([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
        except TemplateError:
            return False
        return True


def _compiled(tokenizer: Any) -> Any:
    """The template in transformers' own sandbox, whose blocks and macros leave quoted what is."""
    source = tokenizer.get_chat_template()
    environment = _compile_jinja_template(source).environment.overlay()
    environment.concat = joined
    return environment.from_string(source)


def _fold_system(messages: Messages) -> Messages:
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return messages
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
