"""The worker's command line."""

from __future__ import annotations

import pytest

from inference.worker.command import SHORTEST_LEASE, connect, parse_arguments

TORCH = ["--model", "m", "--path", "folder"]


def test_a_lease_is_fifteen_seconds_unless_it_is_set(monkeypatch):
    monkeypatch.delenv("CHATAPP_LEASE_SECONDS", raising=False)
    assert parse_arguments(TORCH).lease == 15.0
    monkeypatch.setenv("CHATAPP_LEASE_SECONDS", "40")
    assert parse_arguments(TORCH).lease == 40.0
    assert parse_arguments([*TORCH, "--lease", "8.5"]).lease == 8.5


@pytest.mark.parametrize("seconds", ["5.9", "0", "-1", "nan", "soon"])
def test_a_lease_too_short_to_outlast_a_pause_of_redis_is_refused(seconds, capsys):
    with pytest.raises(SystemExit):
        parse_arguments([*TORCH, "--lease", seconds])
    assert "lease" in capsys.readouterr().err


def test_a_worker_on_redis_holds_its_jobs_for_its_own_lease():
    options = parse_arguments([*TORCH, "--redis", "redis://nowhere", "--lease", str(SHORTEST_LEASE)])
    transport, _ = connect(options)
    assert transport._settings.lease == SHORTEST_LEASE
    transport.close()
