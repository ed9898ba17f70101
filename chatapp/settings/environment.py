"""The environment, read once. A missing or bad value stops the start and says what was expected."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")

BASE_DIR = Path(__file__).resolve().parent.parent.parent
_REQUIRED = object()


class Environment:
    """Typed access to environment variables.

    Every method takes the variable's name and a default; without a default the variable must be
    set. Raises ``ImproperlyConfigured`` naming the variable, its value and what was expected.
    """

    def __init__(self, values: Mapping[str, str] = os.environ) -> None:
        self._values = values

    def text(self, name: str, default: str | object = _REQUIRED) -> str:
        return self._read(name, default, str, "a text")

    def boolean(self, name: str, default: bool | object = _REQUIRED) -> bool:
        return self._read(name, default, _boolean, "true or false")

    def integer(self, name: str, default: int | object = _REQUIRED, *, low: int = 0, high: int = 2**31) -> int:
        return self._read(name, default, _bounded(low, high), f"a whole number from {low} to {high}")

    def path(self, name: str, default: Path | object = _REQUIRED) -> Path:
        return self._read(name, default, lambda raw: Path(raw).expanduser().resolve(), "a path")

    def words(self, name: str, default: list[str] | object = _REQUIRED) -> list[str]:
        return self._read(name, default, _words, "words separated by commas")

    def url(self, name: str, schemes: tuple[str, ...], default: str | object = _REQUIRED) -> str:
        expected = " or ".join(f"{scheme}://…" for scheme in schemes)
        return self._read(name, default, _url(schemes), f"an address like {expected}")

    def choice(self, name: str, options: tuple[str, ...], default: str | object = _REQUIRED) -> str:
        return self._read(name, default, _one_of(options), "one of " + ", ".join(options))

    def _read(self, name: str, default: T | object, parse: Callable[[str], T], expected: str) -> T:
        raw = self._values.get(name, "").strip()
        if not raw:
            if default is _REQUIRED:
                raise ImproperlyConfigured(f"{name} is not set: expected {expected}.")
            return default  # type: ignore[return-value]
        try:
            return parse(raw)
        except ValueError:
            raise ImproperlyConfigured(f"{name}={raw!r} is not valid: expected {expected}.") from None


def _boolean(raw: str) -> bool:
    known = {
        "1": True,
        "true": True,
        "yes": True,
        "on": True,
        "0": False,
        "false": False,
        "no": False,
        "off": False,
    }
    if raw.lower() not in known:
        raise ValueError
    return known[raw.lower()]


def _bounded(low: int, high: int) -> Callable[[str], int]:
    def parse(raw: str) -> int:
        value = int(raw)
        if not low <= value <= high:
            raise ValueError
        return value

    return parse


def _words(raw: str) -> list[str]:
    return [word.strip() for word in raw.split(",") if word.strip()]


def _url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError
        return raw

    return parse


def _one_of(options: tuple[str, ...]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        if raw not in options:
            raise ValueError
        return raw

    return parse


env = Environment()
