"""Answers begun by one worker and ended by another."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest

from inference.messages import Started, Text
from inference.transport import MemoryTransport
from inference.worker.loop import Worker
from inference.writers.torch import TorchWriter
from tests.inference.logs import ended, ids_of, text_of, wait_until
from tests.inference.worker.jobs import SAMPLING, begun, expected, job, wanting


def test_a_continued_answer_publishes_only_what_comes_after(transport, run_worker, make_engine):
    run_worker()
    transport.submit(job(resume_text="jumps over"))
    log = ended(transport)
    tokens, _ = expected(make_engine, "the fox", resume_text="jumps over")
    assert (ids_of(log), log[-1].output_tokens) == (tokens, 24)
    assert not text_of(log).startswith("jumps over")


def test_another_worker_goes_on_where_a_lost_one_stopped(make_engine):
    """The tokens published by a worker that died, and those of its successor, are one greedy answer."""
    clock = [0.0]
    transport = MemoryTransport(lease=15, clock=lambda: clock[0])
    tokens, _ = expected(make_engine, "the fox")
    transport.submit(job())
    transport.claim("dead", 1, 1000)
    published = make_engine().tokenizer.decode(tokens[:5])
    transport.publish("dead", {"g": [Started(1, "dead", "m", "r", 5), Text(2, published, tuple(tokens[:5]))]})
    clock[0] += 16
    worker = Worker(transport, lambda progress: TorchWriter(make_engine()), name="alive", model="m")
    thread = threading.Thread(target=worker.run)
    thread.start()
    log = ended(transport)
    worker.stop()
    thread.join(10)
    assert ids_of(log) == tokens
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert log[-1].output_tokens == len(tokens)


def test_what_is_not_written_within_the_grace_is_written_by_another(transport, run_worker, make_engine):
    engine = make_engine()
    step = engine.step

    def slow():
        time.sleep(0.02)
        return step()

    engine.step = slow
    worker = run_worker("first", load=lambda progress: engine, grace=0.1)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=100)))
    wait_until(lambda: len(ids_of(transport.log("g"))) > 3)
    worker.stop()
    wait_until(lambda: transport.position("g"))
    assert 3 < len(ids_of(transport.log("g"))) < 100
    run_worker("second")
    log = ended(transport)
    assert ids_of(log) == expected(make_engine, "the fox", 100)[0]
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert [event.worker for event in log if isinstance(event, Started)] == ["first", "second"]


def test_an_answer_begun_by_an_engine_without_token_ids_goes_on_after_its_text(transport, run_worker, make_engine):
    transport.submit(job())
    transport.claim("relay", 1, 1000)
    transport.publish("relay", {"g": [Started(1, "relay", "m", "", 5), Text(2, "jumps over", (), 4)]})
    transport.hand_back("relay", ["g"])
    run_worker()
    log = ended(transport)
    tokens, _ = expected(make_engine, "the fox", 20, resume_text="jumps over")
    assert ids_of(log) == tokens
    assert log[-1].output_tokens == 24


SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"a": {"type": "string", "maxLength": 20}},
        "required": ["a"],
        "additionalProperties": False,
    }
)


SETTINGS = {
    "penalties": {"presence_penalty": 2.0, "frequency_penalty": 1.0},
    "repetition": {"repetition_penalty": 5.0},
    "biases": {"logit_bias": ((300, 100.0), (301, 99.5)), "frequency_penalty": 0.25},
    "schema": {"json_schema": SCHEMA},
}


def whole_answer(transport, run_worker, sampling):
    """What a worker writes that nothing happens to; it claims nothing afterwards."""
    run_worker("first")
    transport.submit(job("whole", sampling=sampling))
    log = ended(transport, "whole")
    run_worker.end()
    return log


@pytest.mark.parametrize("name", SETTINGS)
def test_an_answer_goes_on_elsewhere_as_if_nothing_had_happened(transport, run_worker, make_engine, name):
    """Penalties and the grammar see the tokens that the lost worker published."""
    sampling = wanting(**SETTINGS[name])
    whole = whole_answer(transport, run_worker, sampling)
    ids = ids_of(whole)
    assert ids != expected(make_engine, "the fox", 60)[0]
    cuts = (3, len(ids) // 2, len(ids) - 1)
    for cut in cuts:
        begun(transport, f"cut{cut}", sampling, ids[:cut])
    run_worker("second")
    for cut in cuts:
        log = ended(transport, f"cut{cut}")
        assert ids_of(log) == ids
        assert (log[-1].reason, log[-1].output_tokens) == (whole[-1].reason, len(ids))


def test_an_answer_held_to_a_schema_goes_on_after_a_text_without_token_ids(transport, run_worker):
    sampling = wanting(json_schema=SCHEMA)
    whole = text_of(whole_answer(transport, run_worker, sampling))
    cut = whole.index(":") + 1
    begun(transport, "g", sampling, (), whole[:cut], 4)
    run_worker("second")
    log = ended(transport)
    assert json.loads(text_of(log)).keys() == {"a"}
    assert log[-1].output_tokens == 4 + len(ids_of(log))


def test_penalties_count_the_tokens_of_a_text_without_ids(transport, run_worker, tokenizer):
    (fox,), (dog,) = (tokenizer.encode(word, add_special_tokens=False) for word in (" fox", " dog"))
    sampling = wanting(logit_bias=((fox, 100.0), (dog, 99.0)), presence_penalty=2.0)
    begun(transport, "g", sampling, (), " fox", 1)
    transport.submit(job("afresh", sampling=sampling))
    run_worker()
    assert ids_of(ended(transport, "afresh"))[:2] == [fox, dog]
    log = ended(transport)
    assert ids_of(log)[0] == dog
    assert log[-1].output_tokens == 1 + len(ids_of(log)) == 60


def test_an_answer_that_has_outgrown_the_next_workers_context_ends_at_its_length(transport, run_worker, make_engine):
    tokens, text = expected(make_engine, "the fox", 60)
    begun(transport, "g", wanting(), tokens, text)
    run_worker(max_model_len=40)
    log = ended(transport)
    assert (text_of(log), ids_of(log)) == (text, tokens)
    assert (log[-1].reason, log[-1].output_tokens, log[-1].error_code) == ("length", 60, "")


def test_an_answer_whose_prompt_does_not_fit_the_next_worker_ends_at_its_length(transport, run_worker):
    transport.submit(job("g", "the quick brown fox " * 30, sampling=wanting(), trim=False))
    transport.claim("gone", 1, 1000)
    transport.publish("gone", {"g": [Started(1, "gone", "m", "r", 5), Text(2, "jumps", (50, 51))]})
    transport.hand_back("gone", ["g"])
    run_worker(max_model_len=40)
    log = ended(transport)
    assert (text_of(log), log[-1].reason, log[-1].output_tokens) == ("jumps", "length", 2)
