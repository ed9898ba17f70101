"""Jobs become answers: the worker on a real engine and the real memory transport."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from inference.messages import Ended, Sampling, Started, Text
from tests.inference.logs import ended, ids_of, text_of, wait_until
from tests.inference.worker.jobs import SAMPLING, expected, job, wanting


def test_a_job_becomes_a_numbered_log_of_what_the_engine_writes(transport, run_worker, make_engine):
    run_worker()
    transport.submit(job())
    log = ended(transport)
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert isinstance(log[0], Started)
    assert (log[0].worker, log[0].model, log[0].sampling["temperature"]) == ("w1", "m", 0.0)
    tokens, text = expected(make_engine, "the fox")
    assert (ids_of(log), text_of(log)) == (tokens, text.replace("\x00", ""))
    assert (log[-1].reason, log[-1].output_tokens) == ("length", 24)


def test_many_jobs_at_once_each_get_their_own_answer(transport, run_worker, make_engine):
    run_worker()
    prompts = ["the fox", "a dog", "quick brown", "lazy"] * 3
    for n, prompt in enumerate(prompts):
        transport.submit(job(f"g{n}", prompt))
    for n, prompt in enumerate(prompts):
        assert ids_of(ended(transport, f"g{n}")) == expected(make_engine, prompt)[0]


def test_a_cancelled_answer_ends_and_its_place_is_free_again(transport, run_worker):
    worker = run_worker(max_num_seqs=1)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=200)))
    wait_until(lambda: len(transport.log("g")) > 2)
    transport.cancel("g")
    log = ended(transport)
    assert log[-1].reason == "cancelled"
    assert 0 < log[-1].output_tokens < 200
    transport.submit(job("next"))
    assert ended(transport, "next")[-1].reason == "length"
    assert worker.report.state == "ready"


def test_a_cancel_at_any_moment_ends_an_answer_once(transport, run_worker):
    """Before it was claimed, while it is read, while it is written, and when it has just ended."""
    worker = run_worker()
    names = [f"g{n}" for n in range(30)]
    for n, name in enumerate(names):
        transport.submit(job(name, "the quick brown fox " * 8, sampling=replace(SAMPLING, max_tokens=40)))
        if n % 3 == 0:
            transport.cancel(name)
        if n % 3 == 1:
            wait_until(lambda name=name, n=n: len(transport.log(name)) > n % 2)
            transport.cancel(name)
    logs = [ended(transport, name) for name in names]
    time.sleep(0.2)  # nothing may come after the end
    assert [[event.seq for event in transport.log(name)] for name in names] == [
        list(range(1, len(log) + 1)) for log in logs
    ]
    assert [sum(isinstance(event, Ended) for event in log) for log in logs] == [1] * len(names)
    assert {log[-1].reason for log in logs} == {"cancelled", "length"}
    wait_until(lambda: worker.report.counters.get("kv_blocks_used") == 0)


def test_the_heartbeat_carries_the_engines_own_figures(transport, run_worker):
    run_worker()
    transport.submit(job())
    tokens = len(ids_of(ended(transport)))
    wait_until(lambda: transport.stats().workers[0].counters.get("output_tokens") == tokens)
    (report,) = transport.stats().workers
    phases = {"schedule", "model", "sample", "detokenize"}
    assert all(report.counters[f"{phase}_seconds"] > 0 for phase in phases)
    assert report.counters["decode_tokens"] == tokens - 1
    assert report.counters["computed_tokens"] == report.counters["prompt_tokens"] + tokens - 1


def test_the_engine_ranks_a_job_by_the_service_its_tenant_had_before_it(transport, run_worker, make_engine):
    engine = make_engine()
    ranked, add = {}, engine.scheduler.add

    def watched(seq):
        ranked[seq.request_id] = seq.priority[:2]
        add(seq)

    engine.scheduler.add = watched
    for name, tenant, band in (("g0", "greedy", 0), ("g1", "greedy", 0), ("m", "modest", 0), ("b", "greedy", 1)):
        transport.submit(replace(job(name, band=band), tenant=tenant))
    run_worker(load=lambda progress: engine)
    for name in ("g0", "g1", "m", "b"):
        ended(transport, name)
    assert ranked == {"g0": (0, 0.0), "m": (0, 0.0), "g1": (0, 10.0), "b": (1, 20.0)}


def test_the_same_seed_gives_the_same_text_and_is_told(transport, run_worker):
    run_worker()
    sampling = Sampling(max_tokens=16, temperature=1.0, seed=11)
    for name in ("a", "b"):
        transport.submit(job(name, sampling=sampling))
    transport.submit(job("c", sampling=replace(sampling, seed=12)))
    a, b, c = (ended(transport, name) for name in "abc")
    assert a[0].seed == b[0].seed == 11
    assert ids_of(a) == ids_of(b) != ids_of(c)


def test_tokens_of_one_window_travel_together(transport, run_worker, monkeypatch):
    monkeypatch.setattr("inference.worker.loop.FLUSH_SECONDS", 0.5)
    run_worker()
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=60)))
    log = ended(transport)
    assert len([event for event in log if isinstance(event, Text)]) < 30
    assert len(ids_of(log)) == 60


def test_a_stopped_worker_ends_what_it_has_begun_and_begins_nothing(transport, run_worker):
    worker = run_worker(grace=30)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=150)))
    wait_until(lambda: ids_of(transport.log("g")))
    worker.stop()
    transport.submit(job("late"))
    assert len(ids_of(ended(transport))) == 150
    time.sleep(0.2)
    assert transport.position("late").place == 1
    assert transport.stats().workers[0].state == "draining"


def test_log_probabilities_are_told_for_every_token_of_the_text(transport, run_worker):
    run_worker()
    transport.submit(job(sampling=wanting(logprobs=2)))
    log = ended(transport)
    choices = [choice for event in log if isinstance(event, Text) for choice in event.choices]
    assert len(choices) == len(ids_of(log))
    assert b"".join(bytes(choice.drawn.bytes) for choice in choices).decode(errors="replace") == text_of(log)
    assert all(choice.best[0] == choice.drawn and len(choice.best) == 2 for choice in choices)


@pytest.mark.parametrize("name", ["stop_token_ids", "logit_bias"])
def test_a_token_that_the_model_does_not_have_is_refused_by_the_settings_name(transport, run_worker, name):
    run_worker()
    wanted = {"stop_token_ids": (400,), "logit_bias": ((400, 1.0),)}[name]
    transport.submit(job(sampling=wanting(**{name: wanted})))
    (end,) = ended(transport)
    assert (end.reason, end.error_code, end.error_param) == ("failed", "invalid_sampling", name)
    assert "from 0 to 399" in end.error_message


def test_a_schema_that_cannot_be_followed_is_refused_by_its_code(transport, run_worker):
    run_worker()
    transport.submit(job(sampling=wanting(json_schema='{"type":"nonsense"}')))
    (end,) = ended(transport)
    assert (end.error_code, end.error_param) == ("invalid_structured_output", "json_schema")
