"""The environment, read once. A missing or bad value stops the start and says what was expected.

The values are environs': any of them may stand in a file instead, which ``NAME_FILE`` names, as secrets of Docker and
Kubernetes do. A blank value is one that is not set.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured
from environs import FileAwareEnv
from marshmallow import ValidationError, fields, validate

T = TypeVar("T")

BASE_DIR = Path(__file__).resolve().parent.parent.parent
_REQUIRED: Any = object()
_PASSWORD = re.compile(r"(?<=://)([^/@]*?):.*@")


class Environment:
    """Typed access to environment variables.

    Every method takes the variable's name and a default; without a default the variable must be
    set. Raises ``ImproperlyConfigured`` naming the variable, its value and what was expected.
    """

    def __init__(self) -> None:
        self._values = FileAwareEnv()

    def text(self, name: str, default: str = _REQUIRED) -> str:
        return self.parsed(name, str, "a text", default)

    def boolean(self, name: str, default: bool = _REQUIRED) -> bool:
        return self.parsed(name, fields.Boolean().deserialize, "true or false", default)

    def integer(self, name: str, default: int = _REQUIRED, *, low: int = 0, high: int = 2**31) -> int:
        bounded = fields.Integer(validate=validate.Range(low, high))
        return self.parsed(name, bounded.deserialize, f"a whole number from {low} to {high}", default)

    def path(self, name: str, default: Path = _REQUIRED) -> Path:
        return self.parsed(name, lambda raw: Path(raw).expanduser().resolve(), "a path", default)

    def words(self, name: str, default: list[str] = _REQUIRED) -> list[str]:
        return self.parsed(name, _words, "words separated by commas", default)

    def networks(self, name: str, default: list[str]) -> list[str]:
        return self.parsed(name, _networks, "networks such as 10.0.0.0/8 separated by commas, or *", default)

    def url(self, name: str, schemes: tuple[str, ...], default: str = _REQUIRED) -> str:
        expected = " or ".join(f"{scheme}://…" for scheme in schemes)
        return self.parsed(name, _url(schemes), f"an address like {expected}", default)

    def choice(self, name: str, options: tuple[str, ...], default: str = _REQUIRED) -> str:
        known = fields.String(validate=validate.OneOf(options))
        return self.parsed(name, known.deserialize, "one of " + ", ".join(options), default)

    def parsed(self, name: str, parse: Callable[[str], T], expected: str, default: T = _REQUIRED) -> T:
        """``parse`` raises ``ValueError``; what it says is told as well."""
        raw: str = self._values.str(name, "").strip()
        if not raw:
            if default is _REQUIRED:
                raise ImproperlyConfigured(f"{name} is not set: expected {expected}.")
            return default
        try:
            return parse(raw)
        except (ValueError, ValidationError) as error:
            why = f" ({error})" if str(error) and isinstance(error, ValueError) else ""
            shown = _PASSWORD.sub(r"\1:…@", raw)
            raise ImproperlyConfigured(f"{name}={shown!r} is not valid{why}: expected {expected}.") from None


def _words(raw: str) -> list[str]:
    return [word.strip() for word in raw.split(",") if word.strip()]


def _networks(raw: str) -> list[str]:
    words = _words(raw)
    if words != ["*"]:
        for word in words:
            ipaddress.ip_network(word)
    return words


def _url(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def parse(raw: str) -> str:
        parts = urlsplit(raw)
        if parts.scheme not in schemes or not (parts.netloc or parts.path):
            raise ValueError
        return raw

    return parse


env = Environment()
