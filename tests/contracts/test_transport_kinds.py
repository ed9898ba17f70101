"""The transport contract (inference/transport/base.py): one line for answers and for embeddings."""

from __future__ import annotations

import pytest

from inference.line.fairness import EMBEDDED_COST
from inference.messages import BATCH, EMBEDDING, Ended, Position, Vectors, Waiting, WorkerReport
from tests.contracts.claiming import STARTED, claim_ids

MADE = Vectors(2, (1, 0), "AACAPwAAAAA=", 7)


@pytest.fixture
def workers(transport, clock):
    """One that writes answers, and one that embeds; both for the model ``m``, whose name they happen to share."""
    transport.renew("writes", WorkerReport("writes", "ready", model="m", at=clock()))
    transport.renew("embeds", WorkerReport("embeds", "ready", model="m", kind=EMBEDDING, at=clock()))


def texts(job, name, tenant="a", **fields):
    return job(name, tenant, kind=EMBEDDING, texts=("hello", "\x00 🙂 \u202e"), **fields)


def test_a_worker_gets_jobs_of_its_kind_alone(transport, job, workers):
    embed = texts(job, "e", trim=False)
    transport.submit(embed)
    assert claim_ids(transport, "writes") == claim_ids(transport, "never told") == []
    transport.submit(job("g"))
    (claim,) = transport.claim("embeds", 8, 10_000)
    assert claim.job == embed
    assert claim_ids(transport, "embeds") == []
    assert claim_ids(transport, "writes") == ["g"]


@pytest.mark.parametrize("model", ["", "m", "another"])
def test_a_job_of_the_other_kind_is_not_taken_whatever_model_it_asks_for(transport, job, workers, model):
    transport.submit(job("g", model=model))
    assert claim_ids(transport, "embeds") == []
    transport.submit(texts(job, "e", model=model))
    assert claim_ids(transport, "writes") == ([] if model == "another" else ["g"])


def test_what_is_urgent_for_the_one_does_not_hold_the_other(transport, job, workers):
    transport.submit(texts(job, "e", band=BATCH))
    transport.submit(job("g"))
    assert claim_ids(transport, "embeds") == ["e"]


def test_a_flood_of_the_one_leaves_places_and_spare_slots_of_the_other(transport, job, workers):
    for number in range(6):
        transport.submit(texts(job, f"e{number}", "flood"))
    assert len(claim_ids(transport, "embeds", slots=4)) == 4
    for number in range(2):
        transport.submit(job(f"g{number}", "flood"))
    transport.submit(job("other", "b"))
    assert [transport.position(name).waiting for name in ("g0", "other", "e4")] == [3, 3, 2]
    assert transport.position("e5") == Position(2, 2)
    assert {claim.job.id for claim in transport.claim("writes", 2, 100, spare=2)} == {"g0", "other"}


def test_the_line_says_of_which_kind_each_is(transport, job, workers):
    transport.submit(texts(job, "e"))
    newcomer = texts(job, "n", "b")
    assert transport.line()[0] == Waiting("e", "a", prompt_tokens=10, max_tokens=8, model="m", kind=EMBEDDING)
    assert [waiting.kind for waiting in transport.line(also=newcomer)] == [EMBEDDING, EMBEDDING]


def test_a_token_that_is_embedded_costs_a_part_of_one_that_is_read(transport, job, workers):
    transport.submit(texts(job, "e", prompt_tokens=100, weight=4.0))
    claim_ids(transport, "embeds")
    transport.submit(texts(job, "again", prompt_tokens=100, weight=4.0))
    (claim,) = transport.claim("embeds", 1, 10_000)
    assert claim.counter == pytest.approx(100 * EMBEDDED_COST / 4)


def test_vectors_are_in_the_log_as_they_were_published(transport, job, workers):
    transport.submit(texts(job, "e"))
    claim_ids(transport, "embeds")
    ended = Ended(3, "stop", prompt_tokens=7)
    assert transport.publish("embeds", {"e": [STARTED, MADE, ended]}) == frozenset()
    assert transport.log("e") == [STARTED, MADE, ended]
    assert transport.unreleased() == {"e"}


def test_another_worker_goes_on_with_the_vectors_there_are(transport, job, workers, clock):
    transport.submit(texts(job, "e"))
    claim_ids(transport, "embeds")
    transport.publish("embeds", {"e": [STARTED, MADE]})
    transport.hand_back("embeds", ["e"])
    assert claim_ids(transport, "writes") == []
    (claim,) = transport.claim("embeds", 1, 100)
    assert (claim.log, claim.next_seq, claim.attempt, claim.text, claim.tokens) == ((STARTED, MADE), 3, 1, "", 0)
    clock.now += 16
    transport.renew("second", WorkerReport("second", "ready", model="m", kind=EMBEDDING, at=clock()))
    assert claim_ids(transport, "second") == ["e"]
    clock.now += 16
    assert claim_ids(transport, "second") == []
    assert transport.log("e")[-1].error_code == "worker_lost"


def test_a_waiting_and_a_running_one_are_cancelled(transport, job, workers):
    for name in ("runs", "waits"):
        transport.submit(texts(job, name))
    claim_ids(transport, "embeds", slots=1)
    for name in ("runs", "waits"):
        transport.cancel(name)
    assert [event.reason for event in transport.log("waits")] == ["cancelled"]
    assert transport.renew("embeds").cancelled == {"runs"}


def test_a_transport_that_was_told_again_knows_its_kind(transport, job, workers):
    """As Redis is, once it has lost its memory."""
    transport.submit(texts(job, "e"))
    (claim,) = transport.claim("embeds", 1, 100)
    transport.restore("embeds", claim, [STARTED, MADE])
    transport.hand_back("embeds", ["e"])
    assert claim_ids(transport, "writes") == []
    assert claim_ids(transport, "embeds") == ["e"]
