"""Prompts and grammars are made ready beside the steps of others, in order, and what comes of it reaches its job."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from inference.messages import ChatMessage, Claim
from inference.writers.torch import TorchWriter
from inference.writers.torch.prompt_tokens import fit_prompt
from tests.inference.logs import ended, text_of
from tests.inference.worker.jobs import SAMPLING, expected, job

FORMED = replace(SAMPLING, json_schema=json.dumps({"enum": ["x", "y"]}))
PATIENCE = 20.0


@pytest.fixture
def engine(make_engine):
    """One that compiles a grammar when it is let to."""
    engine = make_engine()
    grammars, engine.gate = engine.grammars, threading.Event()

    def slow(params):
        if params.structured_outputs:
            assert engine.gate.wait(PATIENCE)
        return grammars(params)

    engine.grammars = slow
    yield engine
    engine.gate.set()


def advance_until(writer, done):
    """What is written meanwhile."""
    written = []
    for _ in range(3000):
        written += writer.advance(0.01)
        if done(written):
            return written
    raise AssertionError("never")


def has_ended(name):
    return lambda written: any(one.generation == name and one.ended for one in written)


def test_answers_go_on_and_others_begin_while_a_grammar_is_compiled(engine, make_engine):
    writer = TorchWriter(engine)
    writer.begin(Claim(job("talks")))
    advance_until(writer, lambda written: any(one.text for one in written))
    writer.begin(Claim(job("formed", sampling=FORMED)))
    writer.begin(Claim(job("later")))
    written = advance_until(writer, has_ended("later"))
    assert {one.generation for one in written} == {"talks", "later"}
    assert any(one.generation == "talks" and one.ended for one in written)
    assert writer.busy
    assert "".join(one.text for one in written if one.generation == "later") == expected(make_engine, "the fox")[1]
    engine.gate.set()
    written = advance_until(writer, has_ended("formed"))
    assert json.loads("".join(one.text for one in written)) in ("x", "y")
    assert not writer.busy
    writer.close()


def test_what_is_being_prepared_takes_a_place(engine):
    writer = TorchWriter(engine)
    slots, tokens = writer.free_slots, writer.free_kv_tokens
    writer.begin(Claim(job("formed", sampling=FORMED)))
    assert (writer.free_slots, writer.free_kv_tokens) == (slots - 1, tokens - 10)
    assert writer.stop("formed").ended.reason == "cancelled"
    assert (writer.free_slots, writer.free_kv_tokens, writer.busy) == (slots, tokens, False)
    writer.close()


def test_a_job_that_is_cancelled_while_it_is_prepared_ends_at_once_and_never_begins(engine):
    writer = TorchWriter(engine)
    writer.begin(Claim(job("formed", sampling=FORMED), token_ids=(40, 41), tokens=2, text="ab"))
    ended = writer.stop("formed").ended
    assert (ended.reason, ended.output_tokens) == ("cancelled", 2)
    assert writer.stop("formed") is None
    engine.gate.set()
    writer.begin(Claim(job("formed")))  # under the same name
    written = advance_until(writer, has_ended("formed"))
    assert [one.ended.output_tokens for one in written if one.ended] == [24]
    assert engine.counters()["prompt_tokens"] < 20
    writer.close()


def test_jobs_begin_in_the_order_they_were_claimed(make_engine):
    writer = TorchWriter(make_engine(max_num_seqs=1))
    names = [f"job {n}" for n in range(8)]
    for n, name in enumerate(names):
        writer.begin(Claim(job(name, "the fox " * (40 - 5 * n), sampling=replace(SAMPLING, max_tokens=1))))
    written = advance_until(writer, has_ended(names[-1]))
    assert [one.generation for one in written if one.started] == names
    assert [one.generation for one in written if one.ended] == names
    writer.close()


def test_what_goes_wrong_ends_its_own_job_by_name(transport, run_worker, engine):
    engine.gate.set()
    run_worker(load=lambda progress: engine)
    broken = replace(SAMPLING, json_schema=json.dumps({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}))
    transport.submit(job("broken", sampling=broken))
    transport.submit(job("long", "the fox " * 900))
    transport.submit(job("token", sampling=replace(SAMPLING, stop_token_ids=(9999,))))
    transport.submit(job("good"))
    ends = {name: ended(transport, name)[-1] for name in ("broken", "long", "token", "good")}
    assert {name: (end.reason, end.error_code) for name, end in ends.items()} == {
        "broken": ("failed", "invalid_structured_output"),
        "long": ("failed", "prompt_too_long"),
        "token": ("failed", "invalid_sampling"),
        "good": ("length", ""),
    }
    assert ends["token"].error_param == "stop_token_ids"


def test_a_fault_of_ours_while_preparing_ends_its_job_alone(transport, run_worker, engine, caplog):
    def fail(params):
        raise ZeroDivisionError("ours")

    engine.grammars = fail
    run_worker(load=lambda progress: engine)
    transport.submit(job("bad"))
    assert ended(transport, "bad")[-1].error_code == "engine_error"
    assert "job bad could not be started" in caplog.text
    del engine.grammars
    transport.submit(job("good"))
    assert text_of(ended(transport, "good"))


def test_a_prompt_that_fits_is_tokenized_once(make_engine):
    engine, encoded = make_engine(), []
    backend = engine.tokenizer._tokenizer

    class Counting:
        def __getattr__(self, name):
            return getattr(backend, name)

        def encode(self, text, *args, **options):
            encoded.append(text)
            return backend.encode(text, *args, **options)

    engine.tokenizer._tokenizer = Counting()
    chat = (ChatMessage("system", "the lazy dog"), ChatMessage("user", "the fox"), ChatMessage("assistant", "jumps"))
    asked = replace(job(), messages=(*chat, ChatMessage("user", "and?")))
    prompt, dropped = fit_prompt(engine, asked)
    assert (len(encoded), dropped) == (1, 0)
    assert prompt == backend.encode(encoded[0], add_special_tokens=False).ids
