"""What can be said of a JSON schema without compiling it: its parts, and which of them no finite value can match."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

MAPS = ("$defs", "definitions", "properties", "patternProperties", "dependentSchemas")
LISTS = ("prefixItems", "anyOf", "oneOf", "allOf", "items")
SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
CHOICES = ("anyOf", "oneOf")


def find_endless(schema: dict[str, Any]) -> str | None:
    """The JSON pointer of a part that refers to itself without a way out; ``None`` where there is none.

    A part ends when all that it needs does: begun with nothing known to end, whatever is found to goes on to who needs
    it, so that each part is looked at once for each that it needs.
    """
    parts = dict(all_parts(schema))
    needs = {pointer: _needs(pointer, part, parts) for pointer, part in parts.items()}
    needed_by = defaultdict(list)
    for pointer, options in needs.items():
        for needed in {each for option in options for each in option}:
            needed_by[needed].append(pointer)
    ends: set[str] = set()
    waiting = deque(parts)
    while waiting:
        pointer = waiting.popleft()
        if pointer not in ends and all(not ends.isdisjoint(option) for option in needs[pointer]):
            ends.add(pointer)
            waiting += needed_by[pointer]
    endless = [pointer for pointer in parts if pointer not in ends]
    return next((pointer for pointer in endless if "$ref" in parts[pointer]), endless[0] if endless else None)


def all_parts(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """All schemas in it that are objects, itself among them, with their JSON pointers."""
    waiting = deque([("", schema)])
    while waiting:
        pointer, part = waiting.popleft()
        yield pointer, part
        for name, value in part.items():
            below: Any = ()
            if name in MAPS and isinstance(value, dict):
                below = [(f"/{_escape(key)}", each) for key, each in value.items()]
            elif name in LISTS and isinstance(value, list):
                below = [(f"/{place}", each) for place, each in enumerate(value)]
            elif name in SINGLE:
                below = [("", value)]
            waiting += [(f"{pointer}/{name}{end}", each) for end, each in below if isinstance(each, dict)]


def _needs(pointer: str, part: dict[str, Any], parts: dict[str, Any]) -> list[list[str]]:
    """Of each of these lists one has to end. What is no object, or unknown here, does."""
    needs = [[f"{pointer}/allOf/{place}"] for place in _places(part.get("allOf"))]
    if isinstance(reference := part.get("$ref"), str) and reference.startswith("#"):
        needs.append([unquote(reference[1:])])
    for name in CHOICES:
        if options := list(_places(part.get(name))):
            needs.append([f"{pointer}/{name}/{place}" for place in options])
    if part.get("type") == "object" and isinstance(part.get("required"), list):
        needs += [[f"{pointer}/properties/{_escape(name)}"] for name in part["required"] if isinstance(name, str)]
    if part.get("type") == "array" and isinstance(least := part.get("minItems"), int) and least > 0:
        first = len(list(_places(part.get("prefixItems"))))
        needs += [[f"{pointer}/prefixItems/{place}"] for place in range(min(first, least))]
        needs += [[f"{pointer}/items"]] if least > first else []
    return [option for option in needs if all(each in parts for each in option)]


def _places(value: Any) -> range:
    return range(len(value)) if isinstance(value, list) else range(0)


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
