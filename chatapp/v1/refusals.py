"""What msgspec says of a body, such as ``Expected `float` <= 2.0 - at `$.temperature```, in OpenAI's terms."""

from __future__ import annotations

import re

import msgspec

from .body import Body, Unsupported
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
    (re.compile(r"messages\[\d+\]\.content\[\d+\]"), UNSUPPORTED),
    (re.compile(r"messages\[\d+\](\.role|\.content|$)"), INVALID),
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


def refuse(body: bytes, error: Exception) -> InvalidCall:
    """Why ``body`` could not be decoded. What is not JSON at all is said before anything else."""
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as malformed:
        return InvalidCall(f"The body is not valid JSON: {malformed}.", code="invalid_json")
    said, path, code = _read(str(error))
    if not path:
        return InvalidCall("The body has to be one JSON object.", code="invalid_json")
    param, code = _place(path, code)
    return InvalidCall(WORDS[code].format(param=param, said=said[:1].lower() + said[1:]), param, code)


def _read(text: str) -> tuple[str, str, str]:
    """msgspec's words, the path of the field they are about, and what they amount to."""
    found = SAID.fullmatch(text)
    assert found is not None
    said, path = found["said"], (found["path"] or "").lstrip(".")
    if field := FIELD.fullmatch(said):
        code = MISSING if field[1] == "missing required" else UNKNOWN
        return f"its field '{field[2][:MOST_SHOWN]}' is {field[1].split()[-1]}", _below(path, field[2]), code
    return said, path, MISSING if said.endswith("got `null`") else INVALID


def _below(path: str, name: str) -> str:
    return f"{path}.{name[:MOST_SHOWN]}" if path else name[:MOST_SHOWN]


def _place(path: str, code: str) -> tuple[str, str]:
    for place, its_code in PLACES:
        if found := place.match(path):
            return found[0], its_code or code
    return path, code
