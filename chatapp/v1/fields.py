"""Single fields of a call's body. Everything here raises ``InvalidCall`` naming the field."""

from __future__ import annotations

from typing import Any

from .errors import InvalidCall

Fields = dict[str, Any]


def take_text(fields: Fields, name: str, longest: int = 200) -> str:
    if name not in fields:
        raise InvalidCall(f"'{name}' is required.", name, "missing_parameter")
    value = fields[name]
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        raise InvalidCall(f"'{name}' has to be a text of 1 to {longest} characters.", name)
    return value


def take_flag(fields: Fields, name: str, where: str = "") -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidCall(f"'{where or name}' has to be true or false.", where or name)
    return bool(value)


def take_number(fields: Fields, name: str, low: float, high: float, inside: str = "") -> float | None:
    """``inside``: the field whose object ``fields`` is."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InvalidCall(f"'{inside or name}' has to be a number from {low:g} to {high:g}.", inside or name)
    return float(value)


def take_integer(fields: Fields, name: str, low: int, high: int) -> int | None:
    value = fields.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high):
        raise InvalidCall(f"'{name}' has to be a whole number from {low} to {high}.", name)
    return value
