"""Celery's connection to Redis."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from chatapp.celery import MOST_SECONDS, app


def test_it_is_tried_again_every_few_seconds_and_never_given_up(monkeypatch):
    pauses = []

    def fail(error, interval):
        pauses.append(interval)

    monkeypatch.setattr("kombu.utils.functional.sleep", lambda seconds: None)
    connection = app.connection_for_read("redis://127.0.0.1:1/0")
    with pytest.raises(OperationalError):
        connection.ensure_connection(fail, max_retries=6)
    assert len(pauses) == 6
    assert max(pauses) == MOST_SECONDS
    assert app.conf.broker_connection_max_retries is None
    assert app.conf.broker_channel_error_retry is True, "a READONLY would end the worker for good"
