"""The official Python client against a real server: what it reads, stops, and is refused."""

from __future__ import annotations

import json
import threading
from itertools import islice

import httpx2
import openai
import pytest

from accounts.models import LedgerEntry, UsageDay
from chatapp.chat.models import Conversation, Generation, Message
from inference.messages import Chance, ChatMessage, Choice, Sampling
from tests.factories import ApiKeyFactory

from .conftest import wait_until

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Count to three."}]


def ask(client: openai.OpenAI, **fields):
    return client.chat.completions.create(**{"model": "test", "messages": ASKED, **fields})


def test_a_whole_answer_with_its_usage_as_the_ledger_has_it(client, key, answering, transport):
    answering("one ", "two ", "three")
    reply = ask(client, seed=7, stop=["four"], max_tokens=20, temperature=0)
    (choice,) = reply.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "one two three")
    assert (choice.finish_reason, reply.model, reply.object) == ("stop", "test", "chat.completion")
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.usage.total_tokens) == (10, 3, 13)
    entry = LedgerEntry.everyone.get()
    assert (entry.prompt_tokens, entry.output_tokens, entry.tenant_id) == (10, 3, key.tenant_id)
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 13)
    assert reply.id == f"chatcmpl-{entry.generation_id.hex}"
    assert len(reply._request_id) == 32


def test_the_callers_own_words_and_choices_reach_the_model_and_nothing_else_does(client, answering, machine):
    answering("ok")
    ask(client, seed=-2, stop="four", max_completion_tokens=9, max_tokens=20, top_p=0.5, extra_body={"top_k": 3})
    (job,) = machine.jobs.values()
    assert job.messages == (ChatMessage("system", "Be brief."), ChatMessage("user", "Count to three."))
    assert job.sampling == Sampling(9, top_p=0.5, top_k=3, seed=2**63 - 2, stop=("four",))
    assert job.operator_characters == 0


def test_a_prompt_that_is_counted_at_the_end_only_is_told_as_it_is_charged(client, machine):
    def answer():
        job = machine.take()
        machine.start(job)
        machine.write(job, "one")
        machine.end(job, prompt_tokens=14)

    answering = threading.Thread(target=answer)
    answering.start()
    assert ask(client).usage.prompt_tokens == 14
    answering.join(10)
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 15)


def test_an_answer_in_pieces(client, answering):
    answering("one ", "two", reason="length")
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two"
    assert (chunks[0].choices[0].delta.role, chunks[-2].choices[0].finish_reason) == ("assistant", "length")
    assert [chunk.usage is None for chunk in chunks[:-1]] == [True] * (len(chunks) - 1)
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 12)
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 12)


def test_without_include_usage_there_is_no_word_of_it(client, answering):
    answering("one")
    chunks = list(ask(client, stream=True))
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_pieces_come_as_they_are_written(client, machine):
    seen: list[str] = []

    def read():
        for chunk in ask(client, stream=True):
            seen.append(chunk.choices[0].delta.content or "")

    reading = threading.Thread(target=read)
    reading.start()
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    wait_until(lambda: "".join(seen) == "one ")
    machine.write(job, "two")
    wait_until(lambda: "".join(seen) == "one two")
    machine.end(job)
    reading.join(10)
    assert not reading.is_alive()


def test_a_caller_that_leaves_mid_stream_stops_the_sequence_and_pays_for_what_was_written(client, machine, transport):
    reply = ask(client, stream=True)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ", "two ")
    for chunk in reply:
        if chunk.choices[0].delta.content:
            break
    reply.close()
    wait_until(lambda: transport.renew(machine.name).cancelled == {job.id})
    machine.end(job, "cancelled")
    wait_until(lambda: UsageDay.everyone.values_list("reserved", "used").get() == (0, 12))
    assert Generation.everyone.get().state == "stopped"


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_that_leaves_the_line_gives_its_place_and_its_tokens_back(client_with, key, transport, stream):
    with pytest.raises(openai.APITimeoutError):
        list(ask(client_with(key.secret, timeout=0.5), stream=stream))
    wait_until(lambda: Generation.everyone.get().state == "stopped")
    assert transport.stats().waiting == 0
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 0)
    assert LedgerEntry.everyone.count() == 0


def test_who_waits_is_kept_connected_by_comments(address, key, machine, monkeypatch):
    monkeypatch.setattr("chatapp.v1.answers.FIRST_SILENCE_SECONDS", 0.1)
    monkeypatch.setattr("chatapp.v1.answers.SILENCE_SECONDS", 0.1)
    headers = {"Authorization": f"Bearer {key.secret}"}
    body = {"model": "test", "messages": ASKED, "stream": True}
    with httpx2.stream("POST", f"{address}/chat/completions", headers=headers, json=body, timeout=10) as reply:
        lines = reply.iter_lines()
        assert [next(lines) for _ in range(4)] == [": waiting", "", ": waiting", ""]
        machine.answer("at last")
        rest = [line for line in lines if line.startswith("data: ")]
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.headers["cache-control"] == "no-cache, no-transform"
    assert rest[-1] == "data: [DONE]"
    assert '"content":"at last"' in "".join(rest)


def test_of_several_answers_one_that_fails_fails_the_call_and_stops_the_others(client, machine, transport):
    failed: list[openai.APIStatusError] = []

    def asking():
        try:
            ask(client, n=3)
        except openai.APIStatusError as error:
            failed.append(error)

    caller = threading.Thread(target=asking)
    caller.start()
    jobs = [machine.take() for _ in range(3)]
    for job in jobs:
        machine.start(job)
        machine.write(job, "one ")
    fail(machine, jobs[1], "out_of_memory", "It does not fit.")
    caller.join(10)
    assert [error.code for error in failed] == ["out_of_memory"]
    wait_until(lambda: transport.renew(machine.name).cancelled == {jobs[0].id, jobs[2].id})
    for job in (jobs[0], jobs[2]):
        machine.end(job, "cancelled")
    wait_until(lambda: UsageDay.everyone.values_list("reserved", "used").get() == (0, 10 + 3))


def test_a_caller_that_leaves_stops_all_of_its_answers(client, machine, transport):
    reply = ask(client, stream=True, n=2)
    jobs = [machine.take() for _ in range(2)]
    for job in jobs:
        machine.start(job)
        machine.write(job, "one ")
    seen = {chunk.choices[0].index for chunk in islice(reply, 4)}  # two roles and two texts
    assert seen == {0, 1}
    reply.close()
    wait_until(lambda: transport.renew(machine.name).cancelled == {job.id for job in jobs})
    for job in jobs:
        machine.end(job, "cancelled")
    wait_until(lambda: UsageDay.everyone.values_list("reserved", "used").get() == (0, 10 + 2))


def test_several_answers_prefer_one_worker_and_count_as_several(client, key, machine):
    plan = key.tenant.plan
    plan.requests_per_minute, plan.concurrent_answers = 1, 3
    plan.save()
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, n=4)
    assert (refused.value.param, refused.value.code) == ("n", "invalid_value")
    reply = ask(client, stream=True, n=2)
    first, second = machine.take(), machine.take()
    assert first.conversation == second.conversation != ""
    assert UsageDay.everyone.values_list("reserved", flat=True).get() == first.prompt_tokens + 2 * 256
    plan.requests_per_minute = None
    plan.save()
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client, n=2)
    assert refused.value.code == "too_many_answers"
    assert UsageDay.everyone.values_list("reserved", flat=True).get() == first.prompt_tokens + 2 * 256
    reply.close()


def test_log_probabilities_come_even_where_the_text_lags_behind(client, machine):
    half = Choice(Chance("\ufffd", -0.5, (240, 159)), (Chance("a", -1.0, (97,)),))
    rest = Choice(Chance("\ufffd", -0.25, (166, 138)))
    reply = ask(client, stream=True, logprobs=True)
    job = machine.take()
    machine.start(job)
    machine.write(job, "", choices=(half,))
    machine.write(job, "🦊", choices=(rest,))
    machine.end(job)
    told = [chunk.choices[0] for chunk in reply if chunk.choices[0].logprobs]
    assert "".join(choice.delta.content for choice in told) == "🦊"
    entries = [entry for choice in told for entry in choice.logprobs.content]
    assert [(entry.logprob, entry.bytes) for entry in entries] == [(-0.5, [240, 159]), (-0.25, [166, 138])]
    assert [best.token for best in entries[0].top_logprobs] == ["a"]


def test_the_models_that_are_served(client):
    assert [(model.id, model.object) for model in client.models.list()] == [("test", "model")]
    assert client.models.retrieve("test").id == "test"
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("org/other")
    assert refused.value.code == "model_not_found"


def test_a_call_leaves_no_conversation_behind(client, answering):
    answering("one")
    ask(client)
    assert (Conversation.everyone.count(), Message.everyone.count()) == (0, 0)


def test_a_call_is_charged_to_the_tenant_of_its_key_alone(client_with, key, answering):
    other = ApiKeyFactory()
    answering("one")
    ask(client_with(other.secret))
    assert LedgerEntry.everyone.get().tenant_id == other.tenant_id
    assert not UsageDay.everyone.filter(tenant=key.tenant).exists()


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer sk-wrong"])
def test_with_half_a_key_there_is_nothing_to_see(address, key, header):
    headers = {"Authorization": header}
    for reply in (
        httpx2.post(f"{address}/chat/completions", headers=headers, json={"model": "test", "messages": ASKED}),
        httpx2.get(f"{address}/models", headers=headers),
    ):
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
        assert reply.json()["error"].keys() == {"message", "type", "param", "code"}
        assert reply.headers["www-authenticate"] == "Bearer"
        assert "set-cookie" not in reply.headers


def test_refusals_have_a_status_a_code_and_a_time_to_come_back(client, key, transport):
    plan = key.tenant.plan
    plan.tokens_per_day = 10
    plan.save()
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)
    headers = refused.value.response.headers
    assert (refused.value.code, refused.value.type) == ("quota_exceeded", "insufficient_quota")
    assert int(headers["retry-after"]) > 0
    assert headers["x-should-retry"] == "false"
    assert "draft" not in refused.value.message
    transport._reports.clear()
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client)
    assert (refused.value.status_code, refused.value.code) == (503, "no_worker")
    assert refused.value.response.headers["retry-after"] == "15"


def test_a_conversation_that_no_worker_has_room_for_is_refused_as_a_whole(client):
    turns = [{"role": "user", "content": "long " * 6_000} for _ in range(3)]  # each by itself would fit
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, messages=turns)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "messages")
    assert Generation.everyone.count() == 0


def test_requests_a_minute_are_told_in_headers(client, key, answering):
    plan = key.tenant.plan
    plan.requests_per_minute = 1
    plan.save()
    answering("one")
    raw = client.chat.completions.with_raw_response.create(model="test", messages=ASKED)
    assert (raw.headers["x-ratelimit-limit-requests"], raw.headers["x-ratelimit-remaining-requests"]) == ("1", "0")
    with pytest.raises(openai.RateLimitError) as refused:
        ask(client)
    assert refused.value.code == "rate_limited"
    assert 0 < int(refused.value.response.headers["retry-after"]) <= 60


def fail(machine, job, code, message):
    machine.end(job, "failed", error_code=code, error_message=message)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("code", "status", "told"),
    [
        ("prompt_too_long", 400, "context_length_exceeded"),
        ("upstream_rejected", 400, "upstream_rejected"),
        ("out_of_memory", 503, "out_of_memory"),
    ],
)
def test_what_the_worker_refuses_has_a_status_of_its_own(client, machine, stream, code, status, told):
    refusing = threading.Thread(target=lambda: fail(machine, machine.take(), code, "It does not fit."))
    refusing.start()
    with pytest.raises(openai.APIStatusError) as refused:
        ask(client, stream=stream)
    refusing.join(10)
    assert (refused.value.status_code, refused.value.code) == (status, told)
    assert "It does not fit." in refused.value.message
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 0)


def test_what_fails_on_the_way_ends_the_stream_with_an_error(client, machine):
    reply = ask(client, stream=True)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    fail(machine, job, "worker_lost", "The model stopped twice.")
    read = []
    with pytest.raises(openai.APIError, match="The model stopped twice"):
        read.extend(chunk.choices[0].delta.content for chunk in reply)
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 11)


def test_a_body_that_is_too_large(address, key):
    headers = {"Authorization": f"Bearer {key.secret}"}
    large = httpx2.post(f"{address}/chat/completions", headers=headers, content=b" " * 3_000_000)
    assert (large.status_code, large.json()["error"]["code"]) == (413, "request_too_large")


ODD = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"  # all that ``str.splitlines`` splits at, beside the usual


def test_a_piece_is_one_line_to_whoever_splits_it(address, key, answering):
    answering(ODD, "end")
    headers = {"Authorization": f"Bearer {key.secret}"}
    body = {"model": "test", "messages": ASKED, "stream": True}
    reply = httpx2.post(f"{address}/chat/completions", headers=headers, json=body, timeout=10)
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line and line != "data: [DONE]"]
    text = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    assert text == f"{ODD}end"


ORIGIN = {"Origin": "https://app.example"}


def test_a_browser_is_told_that_it_may_call_from_any_page(address, key):
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-stainless-os"}
    for path in ("/chat/completions", "/models", "/models/test"):
        reply = httpx2.request("OPTIONS", f"{address}{path}", headers={**ORIGIN, **asked})
        assert (reply.status_code, reply.content) == (204, b"")
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "POST" in reply.headers["access-control-allow-methods"]
        assert reply.headers["access-control-allow-headers"] == "authorization,x-stainless-os"
        assert "access-control-allow-credentials" not in reply.headers


def test_a_browser_shows_its_page_answers_and_refusals(address, key, answering):
    answering("one")
    headers = {**ORIGIN, "Authorization": f"Bearer {key.secret}"}
    body = {"model": "test", "messages": ASKED}
    replies = [httpx2.post(f"{address}/chat/completions", headers=headers, json=body)]
    replies += [httpx2.get(f"{address}/models", headers=ORIGIN), httpx2.get(f"{address}/nowhere", headers=headers)]
    replies += [httpx2.request("OPTIONS", f"{address}/models", headers=ORIGIN)]
    assert [reply.status_code for reply in replies] == [200, 401, 404, 405]
    for reply in replies:
        assert reply.headers["access-control-allow-origin"] == "*"
        assert "X-Request-ID" in reply.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in reply.headers


def test_no_other_page_may_call_what_goes_by_cookies(address):
    site = address.removesuffix("/v1")
    for path in ("/", "/api/v1/me/preferences/", "/healthz"):
        assert "access-control-allow-origin" not in httpx2.get(f"{site}{path}", headers=ORIGIN).headers
