"""Bodies of REST requests: what nobody asked for is refused by name, and text is text.

JSON's numbers are not taken for words, nor words for numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers

from .text import CONTROLS, one_line

MOST_SHOWN = 60  # characters of a name that nobody knows


class Strict(serializers.Serializer[Any]):
    """Refuses fields that it does not have."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = [name for name in data if name not in self.fields] if isinstance(data, Mapping) else []
        errors: dict[str, Any] = {one_line(name, MOST_SHOWN) or "?": ["There is no such field."] for name in unknown}
        try:
            value = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**errors, **error.detail}) from None  # type: ignore[dict-item]
        if errors:
            raise serializers.ValidationError(errors)
        return value


class TextField(serializers.CharField):
    """Text of any number of lines, without what no keyboard writes. Half a character is refused."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text = self.clean(data)
        if not text and not self.allow_blank:
            self.fail("blank")
        return text

    def clean(self, text: str) -> str:
        return text.translate(CONTROLS).strip()


class LineField(TextField):
    """Text on one line, without what would change how others are shown, or what nobody sees."""

    def clean(self, text: str) -> str:
        halves = text if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text) else ""
        return halves or one_line(text, len(text))


class IdField(serializers.UUIDField):
    """As it is written, not as a number."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid", value=data)
        return super().to_internal_value(data)


class NumberChoiceField(serializers.ChoiceField):
    """One of some integers."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int:
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)


class NumberField(serializers.IntegerField):
    """A whole number, which is not written as a text."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not int:
            self.fail("invalid")
        return super().to_internal_value(data)


class FlagField(serializers.BooleanField):
    """true or false, and no word for either."""

    def to_internal_value(self, data: Any) -> Any:
        if type(data) is not bool:
            self.fail("invalid", input=data)
        return data


class WordField(serializers.ChoiceField):
    """One of some words, as it is written."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, str):
            self.fail("invalid_choice", input=data)
        return super().to_internal_value(data)
