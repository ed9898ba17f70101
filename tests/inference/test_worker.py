"""The worker on a real engine and the real memory transport."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace

import pytest

from inference.engine import LLMEngine
from inference.errors import ModelNotFound
from inference.fitting import fit_prompt, shared_tokens
from inference.local_engine import LocalEngine
from inference.messages import ChatMessage, Ended, Job, Sampling, Started, Text, WorkerReport
from inference.transport import MemoryTransport
from inference.worker import Worker

SAMPLING = Sampling(max_tokens=24, temperature=0.0)


def job(job_id="g", *texts, sampling=SAMPLING, **fields):
    messages = tuple(
        ChatMessage("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts or ("the fox",))
    )
    return Job(job_id, "t", "m", messages, sampling, prompt_tokens=10, **fields)


@pytest.fixture
def transport():
    return MemoryTransport(retention=3600)


@pytest.fixture
def run_worker(transport, make_engine):
    """Start a worker in a thread; it is stopped after the test."""
    started = []

    def run(name="w1", load=None, grace=0.0, **options):
        def load_engine(progress):
            return LocalEngine(load(progress) if load else make_engine(**options))

        worker = Worker(transport, load_engine, name=name, model="m", grace=grace)
        thread = threading.Thread(target=worker.run)
        thread.start()
        started.append((worker, thread))
        return worker

    yield run
    for worker, thread in started:
        worker.stop()
        thread.join(10)
        assert not thread.is_alive()


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def ended(transport, generation="g"):
    wait_until(lambda: isinstance((transport.log(generation) or [None])[-1], Ended))
    return transport.log(generation)


def text_of(log):
    return "".join(event.text for event in log if isinstance(event, Text))


def ids_of(log):
    return [token for event in log if isinstance(event, Text) for token in event.token_ids]


def expected(make_engine, prompt, max_tokens=24, resume_text=""):
    """What the engine writes by itself, greedily."""
    engine: LLMEngine = make_engine()
    ids = engine.render_chat([{"role": "user", "content": prompt}], resume_text)
    engine.add_request("r", ids, engine.sampling_params(max_tokens=max_tokens, temperature=0.0))
    tokens, text = [], ""
    while engine.has_unfinished:
        for output in engine.step():
            tokens += output.token_ids
            text += output.text
    return tokens, text


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


def test_tenants_share_the_operators_words_and_nothing_that_a_person_wrote(transport, run_worker):
    run_worker()
    operator, about = "the quick brown fox jumps over the lazy dog", " and runs away over the lazy dog and runs"
    cached = {}
    for name, tenant, shared in (
        ("first", "a", len(operator)),
        ("stranger", "b", len(operator)),
        ("colleague", "a", len(operator)),
        ("unsaid", "c", 0),
    ):
        chat = (ChatMessage("system", operator + about), ChatMessage("user", "the fox"))
        transport.submit(replace(job(name), tenant=tenant, messages=chat, operator_characters=shared))
        log = ended(transport, name)
        cached[name] = log[-1].cached_tokens
        prompt_tokens = log[0].prompt_tokens
    assert cached["first"] == cached["unsaid"] == 0
    # blocks of 4 tokens: the role's marker and the operator's nine words; with the person's, all but the end
    assert cached["stranger"] == 8
    assert prompt_tokens - 4 <= cached["colleague"] < prompt_tokens


def test_a_word_that_begins_in_the_operators_text_and_ends_in_a_persons_is_not_shared(make_engine):
    engine = make_engine()
    words = "the quick brown f"
    chat = (ChatMessage("system", words + "ox"), ChatMessage("user", "hi"))
    asked = replace(job(), messages=chat, operator_characters=len(words))
    prompt, _ = fit_prompt(engine, asked)
    assert engine.tokenizer.decode(prompt[: shared_tokens(engine, asked, prompt)]) == "<|system|>the quick brown"
    assert shared_tokens(engine, replace(asked, operator_characters=0), prompt) == 0


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
    worker = Worker(transport, lambda progress: LocalEngine(make_engine()), name="alive", model="m")
    thread = threading.Thread(target=worker.run)
    thread.start()
    log = ended(transport)
    worker.stop()
    thread.join(10)
    assert ids_of(log) == tokens
    assert [event.seq for event in log] == list(range(1, len(log) + 1))
    assert log[-1].output_tokens == len(tokens)


def test_the_oldest_turns_give_way_when_the_context_is_full(transport, run_worker):
    run_worker(max_model_len=96)
    turns = [f"turn {n} the quick brown fox" for n in range(9)]
    transport.submit(job("g", *turns))
    started = ended(transport)[0]
    assert started.dropped_messages > 0
    assert started.dropped_messages % 2 == 0
    assert started.prompt_tokens <= 96 - 24


def test_a_job_that_keeps_all_of_its_turns_fails_when_they_do_not_fit(transport, run_worker):
    run_worker(max_model_len=96)
    turns = [f"turn {n} the quick brown fox" for n in range(9)]
    transport.submit(job("g", *turns, trim=False))
    (end,) = ended(transport)
    assert (end.reason, end.error_code, end.output_tokens) == ("failed", "prompt_too_long", 0)
    transport.submit(job("short", trim=False))
    assert ended(transport, "short")[-1].reason == "length"


def test_the_plans_limit_on_the_prompt_is_kept(transport, run_worker):
    run_worker()
    turns = [f"turn {n} the quick brown fox" for n in range(5)]
    transport.submit(job("free", *turns))
    transport.submit(job("limited", *turns, max_prompt_tokens=40))
    assert ended(transport, "free")[0].dropped_messages == 0
    assert ended(transport, "limited")[0].prompt_tokens <= 40


def test_a_message_that_can_never_fit_fails_by_name_and_the_worker_goes_on(transport, run_worker):
    run_worker(max_model_len=64)
    transport.submit(job("long", "the quick brown fox " * 60))
    end = ended(transport, "long")[-1]
    assert (end.reason, end.error_code) == ("failed", "prompt_too_long")
    assert "Shorten it" in end.error_message
    transport.submit(job("next"))
    assert ended(transport, "next")[-1].reason == "length"


def test_a_step_that_fails_ends_its_answers_and_the_worker_goes_on(transport, run_worker, make_engine):
    engine = make_engine()
    forward, broken = engine.runner.backend.forward, [True]

    def failing(model, batch):
        if broken.pop() if broken else False:
            raise RuntimeError("a kernel panicked")
        return forward(model, batch)

    engine.runner.backend.forward = failing
    run_worker(load=lambda progress: engine)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("failed", "engine_error")
    assert "kernel" not in end.error_message, "what went wrong inside is for the log"
    transport.submit(job("next"))
    assert ended(transport, "next")[-1].reason == "length"


def test_loading_is_reported_and_a_model_that_cannot_be_had_is_said(transport, run_worker):
    def load(progress):
        progress(0.25, "Downloading x: 1 of 4 MB")
        reports.append(transport.stats().workers[0])
        raise ModelNotFound("Could not get x: the model hub cannot be reached from here.")

    reports = []
    worker = run_worker(load=load)
    wait_until(lambda: worker.report.state == "failed")
    assert (reports[0].state, reports[0].progress) == ("downloading", 0.25)
    assert transport.stats().workers[0].detail.startswith("Could not get x")


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
    monkeypatch.setattr("inference.worker.FLUSH_SECONDS", 0.5)
    run_worker()
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=60)))
    log = ended(transport)
    assert len([event for event in log if isinstance(event, Text)]) < 30
    assert len(ids_of(log)) == 60


def test_without_a_model_what_waits_is_told_so_and_nothing_hangs(transport, run_worker):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.submit(job("early"))
    run_worker(load=load)
    end = ended(transport, "early")[-1]
    assert (end.reason, end.error_code) == ("failed", "no_worker")
    transport.submit(job("late"))
    assert ended(transport, "late")[-1].error_code == "no_worker"


def test_an_engine_that_dies_ends_its_answers_with_what_they_have(transport, run_worker, make_engine):
    engine = make_engine()
    step, steps = engine.step, []

    def dying():
        steps.append(1)
        if len(steps) > 10:
            raise MemoryError("the machine is out of memory")
        return step()

    engine.step = dying
    worker = run_worker(load=lambda progress: engine)
    transport.submit(job(sampling=replace(SAMPLING, max_tokens=100)))
    log = ended(transport)
    assert (log[-1].reason, log[-1].error_code) == ("failed", "engine_error")
    assert ids_of(log)
    wait_until(lambda: worker.report.state == "failed")


def test_a_very_long_conversation_is_not_tokenised_only_to_be_dropped(transport, run_worker, make_engine):
    engine = make_engine()
    run_worker(load=lambda progress: engine)
    encoded, encode = [], engine.tokenizer.encode

    def counting(text, **options):
        encoded.append(len(text))
        return encode(text, **options)

    engine.tokenizer.encode = counting
    turns = [f"turn {n} " + "the quick brown fox " * 50 for n in range(200)] + ["and now?"]
    transport.submit(job("g", *turns))
    log = ended(transport)
    assert (log[0].dropped_messages, log[-1].reason) == (200, "length")
    assert sum(encoded) < 20 * len(turns[0])


def test_one_message_over_the_plans_limit_is_refused_by_name(transport, run_worker):
    run_worker()
    transport.submit(job("g", "the quick brown fox " * 10, max_prompt_tokens=20))
    assert ended(transport)[-1].error_code == "prompt_too_long"


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


def test_of_several_workers_one_without_a_model_leaves_the_jobs_to_the_others(transport):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.submit(job())
    worker = Worker(transport, load, name="broken", model="m", alone=False)
    assert worker.run() is False
    assert transport.position("g").place == 1
    assert transport.stats().workers[0].state == "failed"


def test_of_several_on_one_machine_the_last_without_a_model_ends_what_waits(transport):
    def load(progress):
        raise ModelNotFound("Could not get x.")

    transport.renew("other", WorkerReport("other", "loading", model="m", at=time.time()))
    transport.submit(job())
    worker = Worker(transport, load, name="broken", model="m", alone=True)
    running = threading.Thread(target=worker.run)
    running.start()
    wait_until(lambda: [report.state for report in transport.stats().workers] == ["loading", "failed"])
    time.sleep(1.2)
    assert transport.position("g").place == 1, "the other is still loading"
    transport.renew("other", WorkerReport("other", "failed", model="m", at=time.time()))
    assert ended(transport)[-1].error_code == "no_worker"
    worker.stop()
    running.join(5)


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


def wanting(**wanted):
    return replace(SAMPLING, max_tokens=60, **wanted)


def begun(transport, name, sampling, token_ids=(), text="", without_ids=0):
    """A job of which a worker that is gone has published so much."""
    transport.submit(job(name, sampling=sampling))
    transport.claim("gone", 1, 1000)
    events = [Started(1, "gone", "m", "r", 5), Text(2, text, tuple(token_ids), without_ids)]
    transport.publish("gone", {name: events})
    transport.hand_back("gone", [name])


def whole_answer(transport, run_worker, sampling):
    """What a worker writes that nothing happens to; it claims nothing afterwards."""
    worker = run_worker("first")
    transport.submit(job("whole", sampling=sampling))
    log = ended(transport, "whole")
    worker.stop()
    wait_until(lambda: not any(report.state == "ready" for report in transport.stats().workers))
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
