"""The values of a GGUF file, by their names and types: a file may say anything."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from ....errors import UnsupportedModel

ARCHITECTURE = "general.architecture"
_MISSING = object()
T = TypeVar("T")


class Metadata:
    """``name`` is the file's, for the sentences. Keys that begin with a dot are the architecture's own."""

    def __init__(self, name: str, values: dict[str, Any]) -> None:
        self.file, self._values = name, values
        self.architecture = self.text(ARCHITECTURE)

    def __contains__(self, key: str) -> bool:
        return self._full(key) in self._values

    def text(self, key: str, default: str | None = None) -> str:
        return self._typed(key, str, default)

    def flag(self, key: str, default: bool) -> bool:
        return self._typed(key, bool, default)

    def whole(self, key: str, default: int | None = None) -> int:
        """A count or a token's id, at least 0. A list, one for each layer, is as good where all are the same."""
        value = self._values.get(self._full(key), _MISSING)
        if isinstance(value, tuple) and value and len(set(value)) == 1:
            value = value[0]
        if value is _MISSING:
            value = default
        if value is None:
            raise self.lacks(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise self.refuse(f"says {self._full(key)} is {str(value)[:60]}")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Kept as float32, and meant as the shortest decimal that gives it."""
        value = self._values.get(self._full(key), default)
        if value is None:
            raise self.lacks(key)
        if not isinstance(value, int | float) or not math.isfinite(value):
            raise self.refuse(f"says {self._full(key)} is {str(value)[:60]}")
        return float(f"{value:.7g}")

    def many(self, key: str, kind: type) -> tuple[Any, ...]:
        """All of one type; empty when there are none."""
        value = self._values.get(self._full(key), ())
        if not isinstance(value, tuple) or not all(isinstance(each, kind) for each in value):
            raise self.refuse(f"has something else than a list of {kind.__name__} as {self._full(key)}")
        return value

    def lacks(self, key: str) -> UnsupportedModel:
        return self.refuse(f"does not say its {self._full(key)}")

    def refuse(self, what: str) -> UnsupportedModel:
        return UnsupportedModel(f"{self.file} {what}.")

    def _full(self, key: str) -> str:
        return self.architecture + key if key.startswith(".") else key

    def _typed(self, key: str, kind: type[T], default: T | None) -> T:
        value = self._values.get(self._full(key), default)
        if value is None:
            raise self.lacks(key)
        if not isinstance(value, kind):
            raise self.refuse(f"says {self._full(key)} is {str(value)[:60]}")
        return value
