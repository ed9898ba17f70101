"""What crosses process boundaries survives the crossing."""

from __future__ import annotations

import orjson
import pytest

from inference.messages import (
    EMBEDDING,
    Chance,
    ChatMessage,
    Choice,
    Ended,
    Job,
    Sampling,
    Started,
    Text,
    Vectors,
    WorkerReport,
)
from inference.wire import decode_event, decode_job, decode_report, encode_event, encode_job, encode_report


@pytest.mark.parametrize(
    "event",
    [
        Started(1, "w", "m", "r", 12, 2, 42, {"temperature": 0.5}, 7.25),
        Text(2, "naïve 🦊\n", (1, 2)),
        Text(2, "from an API", (), 3),
        Text(2, "", (4, 5), thought="Hm."),
        Text(2, "ü", (7,), choices=(Choice(Chance("ü", -0.5, (195, 188)), (Chance("u", -1.5, (117,)),)),)),
        Text(2, "a", (), 1, choices=(Choice(Chance("a", -0.5)),)),
        Vectors(2, (3, 0), "AACAPwAAAAA=", 12),
        Ended(3, "failed", 5, 4, "engine_error", "It failed.", 0.1, 0.2, 8.5),
        Ended(3, "stop", 5, prompt_tokens=40, approximate=True),
        Ended(1, "failed", error_code="invalid_sampling", error_message="No.", error_param="logit_bias"),
    ],
)
def test_events_survive_the_crossing(event):
    assert decode_event(encode_event(event)) == event


JOB = Job(
    "g",
    "t",
    "m",
    (ChatMessage("system", "s"), ChatMessage("user", "ü")),
    Sampling(
        9,
        stop=("a", "b"),
        seed=3,
        stop_token_ids=(4, 5),
        min_tokens=2,
        presence_penalty=0.5,
        frequency_penalty=-0.5,
        repetition_penalty=1.1,
        logit_bias=((7, -100.0), (8, 2.5)),
        logprobs=3,
        json_schema='{"type":"object"}',
    ),
    5,
    resume_text="x",
    operator_characters=1,
)


def test_jobs_survive_the_crossing():
    assert decode_job(encode_job(JOB)) == JOB
    embed = Job("e", "t", "m", (), Sampling(9), 5, kind=EMBEDDING, texts=("", "\x00🦊\u202e"), trim=False)
    assert decode_job(encode_job(embed)) == embed


def grown(raw: bytes, *path: str) -> bytes:
    """``raw`` as a newer release might write it: with another field in the object at ``path``."""
    message = orjson.loads(raw)
    inner = message
    for name in path:
        inner = inner[name]
    (inner[0] if isinstance(inner, list) else inner)["of_a_newer_release"] = [1]
    return orjson.dumps(message)


@pytest.mark.parametrize("path", [("job",), ("job", "sampling"), ("job", "messages")])
def test_a_field_of_a_newer_release_in_a_job_is_left_out(path):
    assert decode_job(grown(encode_job(JOB), *path)) == JOB


@pytest.mark.parametrize(
    "event", [Started(1, "w", "m", "r", 12), Text(2, "a", (1,)), Vectors(2, (0,), "", 1), Ended(3, "stop", 5)]
)
def test_a_field_of_a_newer_release_in_an_event_is_left_out(event):
    assert decode_event(grown(encode_event(event), "event")) == event


def test_a_field_of_a_newer_release_in_a_report_is_left_out():
    report = WorkerReport("w", "ready", answers=((1, 2),), lengths=(3,), kind=EMBEDDING)
    assert decode_report(grown(encode_report(report), "report")) == report


def test_a_report_carries_what_people_are_told_of_its_model_and_an_older_one_none():
    report = WorkerReport("w", "ready", "a-1", label="A 1", license="MIT", parameters=3)
    assert decode_report(encode_report(report)) == report
    message = orjson.loads(encode_report(report))
    for name in ("label", "license", "parameters"):
        del message["report"][name]
    assert decode_report(orjson.dumps(message)) == WorkerReport("w", "ready", "a-1")


def test_what_an_older_release_did_not_write_has_its_default():
    message = orjson.loads(encode_job(JOB))
    message["job"]["sampling"] = {"max_tokens": 9, "stop": ["a"]}
    del message["job"]["operator_characters"]
    old = decode_job(orjson.dumps(message))
    assert (old.sampling, old.operator_characters) == (Sampling(9, stop=("a",)), 0)
    text = orjson.loads(encode_event(Text(2, "a", (1,))))
    del text["event"]["choices"], text["event"]["thought"]
    assert decode_event(orjson.dumps(text)) == Text(2, "a", (1,))


@pytest.mark.parametrize("change", [{"v": 2}, {"kind": "unknown"}])
def test_another_version_or_kind_is_refused(change):
    raw = orjson.dumps({**orjson.loads(encode_event(Text(1, "a"))), **change})
    with pytest.raises(ValueError, match=r"version|kind"):
        decode_event(raw)
