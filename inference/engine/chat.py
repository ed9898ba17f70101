"""Messages of a conversation as the tokens that a model expects, by the model's own chat template."""

from __future__ import annotations

from typing import Any

from jinja2.exceptions import TemplateError

from inference.errors import UnsupportedModel

Messages = list[dict[str, str]]  # {"role": ..., "content": ...}


class ChatRenderer:
    """``tokenizer``: a transformers tokenizer.

    Some templates refuse a system message. For those it becomes the beginning of the first user message,
    which is how their models were trained to read one.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._takes_system = bool(tokenizer.chat_template) and self._accepts_system()

    def render(self, messages: Messages, resume_text: str = "") -> list[int]:
        """Tokens up to where the answer begins, or goes on after ``resume_text``.

        Raises ``UnsupportedModel`` when the model has no chat template, or the template refuses the
        messages.
        """
        if not self._tokenizer.chat_template:
            raise UnsupportedModel("This model has no chat template; use one that was trained for chat.")
        if not self._takes_system:
            messages = _fold_system(messages)
        try:
            text = self._template(messages)
        except TemplateError as error:
            raise UnsupportedModel(f"The model's chat template refuses these messages: {error}") from error
        token_ids: list[int] = self._tokenizer.encode(text + resume_text, add_special_tokens=False)
        return token_ids

    def _template(self, messages: Messages) -> str:
        text = self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return str(text)

    def _accepts_system(self) -> bool:
        try:
            self._template([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}])
        except TemplateError:
            return False
        return True


def _fold_system(messages: Messages) -> Messages:
    if [message["role"] for message in messages[:2]] != ["system", "user"]:
        return messages
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]
