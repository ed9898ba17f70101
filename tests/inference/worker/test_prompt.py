"""What a worker does with prompts that are too long, and which of their tokens tenants share."""

from __future__ import annotations

from dataclasses import replace

from inference.messages import ChatMessage
from inference.writers.torch.prompt_tokens import fit_prompt, shared_tokens
from tests.inference.logs import ended
from tests.inference.worker.jobs import job


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


def test_a_very_long_conversation_is_not_tokenised_only_to_be_dropped(transport, run_worker, make_engine):
    engine = make_engine()
    run_worker(load=lambda progress: engine)
    encoded, encode = [], engine.encode_text

    def counting(text):
        encoded.append(len(text))
        return encode(text)

    engine.encode_text = counting
    turns = [f"turn {n} " + "the quick brown fox " * 50 for n in range(200)] + ["and now?"]
    transport.submit(job("g", *turns))
    log = ended(transport)
    assert (log[0].dropped_messages, log[-1].reason) == (200, "length")
    assert sum(encoded) < 20 * len(turns[0])


def test_one_message_over_the_plans_limit_is_refused_by_name(transport, run_worker):
    run_worker()
    transport.submit(job("g", "the quick brown fox " * 10, max_prompt_tokens=20))
    assert ended(transport)[-1].error_code == "prompt_too_long"
