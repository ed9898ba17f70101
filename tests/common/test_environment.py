"""The environment is parsed once, and a bad value says what was expected."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatapp.settings.environment import Environment


def read(verb, raw, *args, **kwargs):
    return getattr(Environment({"NAME": raw} if raw is not None else {}), verb)("NAME", *args, **kwargs)


@pytest.mark.parametrize(
    ("verb", "raw", "value"),
    [
        ("text", " a b ", "a b"),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("integer", "7", 7),
        ("words", "a, b ,,c", ["a", "b", "c"]),
        ("path", "/tmp/x", Path("/tmp/x")),
    ],
)
def test_values_are_parsed(verb, raw, value):
    assert read(verb, raw) == value


@pytest.mark.parametrize(
    ("verb", "raw", "args", "expected"),
    [
        ("boolean", "maybe", (), "NAME='maybe' is not valid: expected true or false."),
        ("integer", "many", (), "NAME='many' is not valid: expected a whole number from 0 to 2147483648."),
        ("choice", "x", (("a", "b"),), "NAME='x' is not valid: expected one of a, b."),
        ("url", "ftp://x", (("redis", "rediss"),), "expected an address like redis://… or rediss://…."),
        ("text", None, (), "NAME is not set: expected a text."),
        ("text", "  ", (), "NAME is not set: expected a text."),
    ],
)
def test_bad_and_missing_values_name_the_variable_and_what_was_expected(verb, raw, args, expected):
    with pytest.raises(ImproperlyConfigured) as refused:
        read(verb, raw, *args)
    assert str(refused.value).endswith(expected)


def test_bounds_are_inclusive_and_defaults_are_given_as_they_are():
    assert read("integer", "10", low=1, high=10) == 10
    with pytest.raises(ImproperlyConfigured):
        read("integer", "11", low=1, high=10)
    assert read("integer", None, 5) == 5
    assert read("text", "", "default") == "default"
