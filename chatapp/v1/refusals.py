"""What msgspec says of a body, such as ``Expected `float` <= 2.0 - at `$.temperature```, in OpenAI's terms."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from chatapp.common.text import one_line

from .body import Bias, Body, Token, Unsupported
from .errors import InvalidCall

SAID = re.compile(r"(?P<said>.*?)(?: - at (?:`key` in )?`\$(?P<path>[^`$]*)`)?", re.DOTALL)
FIELD = re.compile(r"Object (missing required|contains unknown) field `(.*)`", re.DOTALL)
MOST_SHOWN = 60  # characters of a name that nobody knows

INVALID, MISSING, UNKNOWN, UNSUPPORTED = (
    *("invalid_value", "missing_parameter", "unknown_parameter", "unsupported_parameter"),
)
# The first that fits the beginning of a path is the field to name, with a code of its own or the one that msgspec's
# words amount to.
PLACES = (
    (re.compile(r"messages\[\d+\]\.content\[\d+\]\.text"), ""),
    (re.compile(r"messages\[\d+\]\.content\[\d+\](?=\.type)"), UNSUPPORTED),
    (re.compile(r"messages\[\d+\]\.content\[\d+\]"), INVALID),
    (re.compile(r"messages\[\d+\](\.role|\.content|\.name|$)"), INVALID),
    (re.compile(r"messages\[\d+\]"), UNSUPPORTED),
    (re.compile(r"response_format(?=$|\.type$)"), UNSUPPORTED),
    (re.compile(r"(response_format|stream_options)\..*", re.DOTALL), ""),
    (re.compile(rf"({'|'.join(Unsupported.__struct_fields__)})(?=$|[.\[])"), UNSUPPORTED),
    (re.compile(rf"({'|'.join(Body.__struct_fields__)})(?=$|[.\[])"), ""),
)
WORDS = {
    INVALID: "'{param}' is not valid: {said}.",
    MISSING: "'{param}' is required.",
    UNKNOWN: "Unknown parameter: '{param}'.",
    UNSUPPORTED: "'{param}' is not supported here: {said}.",
}


_bias = msgspec.json.Decoder(dict[Token, Bias])

MALFORMED = "JSON is malformed: "  # what msgspec says before what it is
MARK, WIDE = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff", b"\0")


def refuse(body: bytes, error: Exception) -> InvalidCall:
    """Why ``body`` could not be decoded. What is not JSON at all is said before anything else."""
    if malformed := _malformed(body):
        return InvalidCall(malformed, code="invalid_json")
    said, path, code = _read(str(error))
    if not path:
        return InvalidCall("The body has to be one JSON object.", code="invalid_json")
    param, code = _place(path, code)
    if param == "logit_bias":
        said, code = _said_of_bias(body), INVALID
    words = WORDS[code].format(param=param, said=said[:1].lower() + said[1:])
    return InvalidCall(words + (" It is given twice." if _is_given_twice(body, param) else ""), param, code)


def _malformed(body: bytes) -> str:
    """What keeps ``body`` from being JSON; empty for JSON."""
    if not body:
        return "The body is empty. It has to be one JSON object."
    if body.startswith(MARK):
        return "The body begins with a byte order mark. Send JSON in UTF-8 without one."
    if any(mark in body[:2] for mark in WIDE):
        return "The body is not in UTF-8, but in UTF-16 or UTF-32 as it seems. Send JSON in UTF-8."
    try:
        body.decode()
        msgspec.json.decode(body)
    except UnicodeDecodeError as error:
        return f"The body is not in UTF-8: byte 0x{body[error.start]:02x} at {error.start} does not belong there."
    except RecursionError:
        return "The body is nested too deeply."
    except msgspec.ValidationError:
        return ""  # a number that is too large for anything
    except msgspec.DecodeError as error:
        if _is_json_of_half_characters(body):
            return "A text of the body has half a character (\\ud800 to \\udfff) without its other half."
        return f"The body is not valid JSON: {str(error).removeprefix(MALFORMED)}."
    return ""


def _is_json_of_half_characters(body: bytes) -> bool:
    """Whether what msgspec takes for no JSON is some to Python, to which halves of surrogate pairs are characters."""
    try:
        json.loads(body, parse_int=float, parse_constant=int)
    except (ValueError, RecursionError):
        return False
    return True


def _is_given_twice(body: bytes, param: str) -> bool:
    """Of the fields of the call itself: each of them is checked, so that the first may be the one that is wrong."""
    objects: list[list[str]] = []
    try:
        json.loads(body, object_pairs_hook=lambda pairs: objects.append([name for name, _ in pairs]), parse_int=float)
    except RecursionError:  # it goes less deep than msgspec
        return False
    return objects[-1].count(re.split(r"[.\[]", param)[0]) > 1


def _said_of_bias(body: bytes) -> str:
    """msgspec does not tell which of the keys it is about."""
    given = msgspec.json.decode(body)["logit_bias"]
    if not isinstance(given, dict):
        return f"expected `object`, got `{type(given).__name__}`"
    wrong = (words for key, value in given.items() if (words := _wrong_bias(key, value)))
    return next(wrong, "it can have 1,024 tokens at most")


def _wrong_bias(key: str, value: Any) -> str:
    """Why this is no bias of a token; empty where it is."""
    shown = one_line(key, MOST_SHOWN)
    try:
        _bias.decode(msgspec.json.encode({key: value}))
    except msgspec.ValidationError as error:
        if "`key`" in str(error):
            return f"its key '{shown}' is not the number of a token"
        return f"that of its key '{shown}' has to be a number from -100 to 100"
    return ""


def _read(text: str) -> tuple[str, str, str]:
    """msgspec's words, the path of the field they are about, and what they amount to."""
    found = SAID.fullmatch(text)
    assert found is not None
    said, path = found["said"], (found["path"] or "").lstrip(".")
    if field := FIELD.fullmatch(said):
        code = MISSING if field[1] == "missing required" else UNKNOWN
        name = one_line(field[2], MOST_SHOWN) or "?"
        return f"its field '{name}' is {field[1].split()[-1]}", f"{path}.{name}" if path else name, code
    return said, path, MISSING if said.endswith("got `null`") else INVALID


def _place(path: str, code: str) -> tuple[str, str]:
    for place, its_code in PLACES:
        if found := place.match(path):
            return found[0], its_code or code
    return path, code
