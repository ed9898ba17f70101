"""A line of the log has what an operator needs: a traceback too, whoever wrote it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from chatapp.common.logging import configure


@pytest.fixture
def lines(settings) -> Iterator[io.StringIO]:
    """What the process writes from here on, as JSON."""
    configure({"level": "INFO", "json": True})
    written = io.StringIO()
    (handler,) = logging.getLogger().handlers[-1:]
    handler.setStream(written)
    yield written
    structlog.reset_defaults()
    configure(settings.LOGGING)


def fail() -> None:
    password = "kettle"  # noqa: F841  no log may have it
    raise ZeroDivisionError("of our own")


@pytest.mark.parametrize("logger", [logging.getLogger("django.request"), structlog.get_logger("ours")])
def test_a_traceback_is_text_whoever_logs_it(lines, logger):
    try:
        fail()
    except ZeroDivisionError:
        logger.exception("It broke")
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert (line["event"], line["level"]) == ("It broke", "error")
    assert line["exception"].startswith("Traceback (most recent call last):")
    assert line["exception"].endswith("ZeroDivisionError: of our own")
    assert "exc_info" not in line
    assert "kettle" not in lines.getvalue()


def test_a_stack_is_text(lines):
    logging.getLogger("django.request").warning("Here", stack_info=True)
    (line,) = map(json.loads, lines.getvalue().splitlines())
    assert "test_a_stack_is_text" in line["stack"]


def test_lines_for_people_have_tracebacks_without_anybodys_variables(lines):
    configure({"level": "INFO", "json": False})
    (handler,) = logging.getLogger().handlers[-1:]
    handler.setStream(lines)
    try:
        fail()
    except ZeroDivisionError:
        logging.getLogger("django.request").exception("It broke")
    assert "ZeroDivisionError: of our own" in lines.getvalue()
    assert "kettle" not in lines.getvalue().replace('password = "kettle"', "")
