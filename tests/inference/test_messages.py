"""What crosses process boundaries survives the crossing."""

from __future__ import annotations

import orjson
import pytest

from inference.messages import (
    ChatMessage,
    Ended,
    Job,
    Sampling,
    Started,
    Text,
    decode_event,
    decode_job,
    encode_event,
    encode_job,
)


@pytest.mark.parametrize(
    "event",
    [
        Started(1, "w", "m", "r", 12, 2, 42, {"temperature": 0.5}, 7.25),
        Text(2, "naïve 🦊\n", (1, 2)),
        Text(2, "from an API", (), 3),
        Ended(3, "failed", 5, 4, "engine_error", "It failed.", 0.1, 0.2, 8.5),
        Ended(3, "stop", 5, prompt_tokens=40, approximate=True),
    ],
)
def test_events_survive_the_crossing(event):
    assert decode_event(encode_event(event)) == event


def test_jobs_survive_the_crossing():
    messages = (ChatMessage("system", "s"), ChatMessage("user", "ü"))
    job = Job("g", "t", "m", messages, Sampling(9, stop=("a", "b"), seed=3), 5, resume_text="x", operator_characters=1)
    assert decode_job(encode_job(job)) == job


@pytest.mark.parametrize("change", [{"v": 2}, {"kind": "unknown"}])
def test_another_version_or_kind_is_refused(change):
    raw = orjson.dumps({**orjson.loads(encode_event(Text(1, "a"))), **change})
    with pytest.raises(ValueError, match=r"version|kind"):
        decode_event(raw)
