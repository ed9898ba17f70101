"""What a model thinks is no part of its answer, however its server sends it; and parts of an answer are all of it."""

from __future__ import annotations

from dataclasses import replace

import orjson
import pytest
from aiohttp import web

from inference.messages import ChatMessage
from tests.fake_upstream import DONE, FakeUpstream, Fault, event, words
from tests.inference.logs import ended, text_of, thought_of, tokens_of, wait_until
from tests.inference.writers.relay.jobs import END, SAMPLING, job, text


def delta(**fields):
    return event({"choices": [{"index": 0, "delta": fields}]})


def parts(*of):
    return delta(content=list(of))


SAID = {"type": "text", "text": "Yes."}
STREAMS = {
    "tags": (text("<think>") + text("\nHm.") + text("\n</think>") + text("\n\nYes."), "Hm.", "Yes."),
    "tags cut anywhere": (b"".join(map(text, "<think>\nHm.\n</think>\n\nYes.")), "Hm.", "Yes."),
    "reasoning_content": (delta(reasoning_content="Hm.") + text("\n\nYes."), "Hm.", "Yes."),
    "reasoning": (delta(reasoning="H", content="") + delta(reasoning="m.") + text("Yes."), "Hm.", "Yes."),
    "both names": (delta(reasoning="Hm.", reasoning_content="Hm.") + text("Yes."), "Hm.", "Yes."),
    "thought and text together": (delta(reasoning_content="Hm.", content="Yes."), "Hm.", "Yes."),
    "halves of a thought's character": (
        b'data: {"choices":[{"delta":{"reasoning":"\\ud83e"}}]}\n\n'
        b'data: {"choices":[{"delta":{"reasoning":"\\udd8a"}}]}\n\n' + text("Yes."),
        "🦊",
        "Yes.",
    ),
    "parts": (parts(SAID), "", "Yes."),
    "parts that are texts": (parts("Ye", "s."), "", "Yes."),
    "parts of an answer": (parts({"type": "output_text", "text": "Ye"}) + text("s."), "", "Yes."),
    "a thinking part": (
        parts({"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, SAID),
        "Hm.",
        "Yes.",
    ),
    "a reasoning part": (parts({"type": "reasoning", "text": "Hm."}) + parts(SAID), "Hm.", "Yes."),
    "parts of other kinds": (parts({"type": "reference", "ids": [1]}, 7, None, {}, SAID), "", "Yes."),
    "parts within parts": (parts({"type": "text", "text": {"content": [{"text": "Yes."}]}}), "", "Yes."),
    "a refusal": (delta(content=None, refusal="Yes."), "", "Yes."),
    "gpt-oss": (
        text("<|channel|>analysis<|message|>Hm.<|end|>") + text("<|start|>assistant<|channel|>final<|message|>Yes."),
        "Hm.",
        "Yes.",
    ),
    "of marks in code": (text("```\n<think>\n") + text("</think>\n```"), "", "```\n<think>\n</think>\n```"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_thoughts_and_answers_are_told_apart(transport, relay, make_upstream, name):
    upstream = make_upstream()
    raw, thought, answer = STREAMS[name]
    upstream.faults.append(Fault("raw", raw=raw + END + DONE))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (thought_of(log).strip(), text_of(log), log[-1].reason) == (thought, answer, "stop")
    assert tokens_of(log) == log[-1].output_tokens > 0


def test_a_server_that_does_not_stream_tells_thoughts_and_parts_too(transport, relay, make_upstream):
    upstream = make_upstream()
    message = {"role": "assistant", "content": [SAID], "reasoning_content": "Hm."}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    upstream.faults.append(Fault("raw", raw=orjson.dumps(whole), headers={"Content-Type": "application/json"}))
    relay(upstream)
    transport.submit(job())
    log = ended(transport)
    assert (thought_of(log), text_of(log)) == ("Hm.", "Yes.")


@pytest.mark.parametrize("owner", ["vllm", "openai"])
def test_a_thought_that_was_cut_off_is_begun_anew_elsewhere(transport, relay, make_upstream, owner):
    """Nothing of the answer is there yet, so that any server will do."""
    bad, good = make_upstream(owner=owner), make_upstream(owner=owner)
    for upstream in (bad, good):
        upstream.faults.append(Fault("raw", raw=text("<think>\nHm") + text(", </th")))
    good.faults[0] = replace(good.faults[0], raw=text("<think>\nAh.\n</think>") + text("Yes.") + END + DONE)
    relay(bad, good)
    transport.submit(job())
    log = ended(transport)
    assert (thought_of(log), text_of(log), log[-1].reason) == ("\nHm, \n\n\nAh.\n", "Yes.", "stop")
    (asked,) = good.requests
    assert [message["role"] for message in asked["messages"]] == ["user"]
    assert asked["max_tokens"] == 98, "the tokens of the thought that was cut off are counted"


def test_an_answer_whose_thought_is_over_goes_on_without_it(transport, relay, make_upstream):
    bad, good = make_upstream(), make_upstream()
    bad.faults.append(Fault("raw", raw=delta(reasoning_content="Hm.") + text("w0 ") + text("w1 ")))
    relay(bad, good)
    transport.submit(job())
    log = ended(transport)
    assert (thought_of(log), text_of(log)) == ("Hm.", words(20))
    assert good.requests[0]["messages"][-1] == {"role": "assistant", "content": words(2)}
    assert log[-1].prompt_tokens == 4 - 2, "of what it was sent, two tokens were the answer's"


def test_another_worker_begins_the_thought_anew(transport, relay, make_upstream):
    first, second = make_upstream(), make_upstream()
    first.faults.append(Fault("raw", raw=delta(reasoning_content="Hm"), headers={}))
    first.faults.extend(Fault("status", status=503) for _ in range(20))
    worker = relay(first, name="first")
    transport.submit(job())
    wait_until(lambda: thought_of(transport.log("g")))
    worker.stop()
    wait_until(lambda: transport.position("g"))
    relay(second, name="second")
    log = ended(transport)
    assert (thought_of(log), text_of(log), log[-1].reason) == ("Hm", words(20), "stop")
    assert "continue_final_message" not in second.requests[0]


def test_what_a_server_takes_for_a_thought_where_an_answer_goes_on_is_the_answer(transport, relay, make_upstream):
    """vLLM's parsers know some thoughts by their end alone, and wait for it in a text that has none."""
    upstream = make_upstream()
    upstream.faults.append(Fault("raw", raw=delta(reasoning_content=" and") + delta(reasoning_content=" on.") + END))
    relay(upstream)
    transport.submit(job(resume_text="So far"))
    log = ended(transport)
    assert (thought_of(log), text_of(log)) == ("", " and on.")


def test_a_thought_where_an_answer_goes_on_stays_one_when_text_follows(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.faults.append(Fault("raw", raw=delta(reasoning_content="Hm.") + text(" and on.") + END))
    relay(upstream)
    transport.submit(job(resume_text="So far"))
    log = ended(transport)
    assert (thought_of(log), text_of(log)) == ("Hm.", " and on.")


class Templated(FakeUpstream):
    """Tells how its template ends a prompt, as vLLM and llama.cpp do."""

    def __init__(self, end="<|im_start|>assistant\n<think>\n", **options):
        super().__init__(**options)
        self.end = end

    async def tell(self, request):
        asked = orjson.loads(await request.read())
        if request.path == "/tokenize":
            return web.json_response({"tokens": [ord(letter) for letter in self.end], "count": 9})
        tokens = "".join(map(chr, asked.get("tokens", ())))
        return web.json_response({"prompt": tokens or self.end})

    async def _listen(self, port):
        make = web.Application

        def with_templates():
            app = make()
            for path in ("/tokenize", "/detokenize", "/apply-template"):
                app.router.add_post(path, self.tell)
            return app

        web.Application = with_templates
        try:
            await super()._listen(port)
        finally:
            web.Application = make


OPENED = text("Hm.\n</th") + text("ink>\n\nYes.") + END


@pytest.mark.parametrize("owner", ["vllm", "llamacpp"])
@pytest.mark.parametrize(
    ("raw", "thought", "answer"),
    [
        (OPENED, "Hm.", "Yes."),
        (text("</think>") + text("\n\nYes.") + END, "", "Yes."),
        (delta(reasoning_content="Hm.") + text("Yes.") + END, "Hm.", "Yes."),
        # a server that leaves out thoughts and marks alike
        (text("Yes.") + END, "Yes.", "Yes."),
    ],
)
def test_a_thought_that_the_servers_template_begins(transport, relay, owner, raw, thought, answer):
    upstream = Templated(owner=owner, end="assistant\n<think>\n").start()
    try:
        upstream.faults.append(Fault("raw", raw=raw))
        relay(upstream)
        transport.submit(job())
        log = ended(transport)
        assert (thought_of(log).strip(), text_of(log)) == (thought, answer)
    finally:
        upstream.close()


def test_the_first_answer_tells_of_a_template_that_could_not_be_asked_for(transport, relay, make_upstream):
    upstream = make_upstream(owner="other")
    upstream.faults.extend(Fault("raw", raw=OPENED) for _ in range(2))
    relay(upstream)
    for name in ("first", "second"):
        transport.submit(job(name))
        log = ended(transport, name)
    assert (thought_of(log), text_of(log)) == ("Hm.\n", "Yes.")


STRICT = b'{"error":{"message":"Conversation roles must alternate user/assistant/user/assistant/...","code":400}}'


def test_turns_that_a_servers_template_refuses_are_put_in_another_form(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.faults.extend(Fault("status", status=400, raw=STRICT) for _ in range(2))
    relay(upstream)
    chat = (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "Hi"),
        ChatMessage("user", "there"),
        ChatMessage("assistant", "Hello."),
        ChatMessage("system", "Be kind."),
        ChatMessage("user", "And?"),
    )
    transport.submit(replace(job(), messages=chat))
    assert ended(transport)[-1].reason == "stop"
    roles = [[message["role"] for message in asked["messages"]] for asked in upstream.requests]
    assert roles[1:] == [["system", "user", "assistant", "user"], ["user", "assistant", "user"]]
    assert [message["content"] for message in upstream.requests[2]["messages"]] == [
        "Be brief.\n\nHi\n\nthere",
        "Hello.",
        "Be kind.\n\nAnd?",
    ]


def test_turns_that_have_no_other_form_are_asked_once(transport, relay, make_upstream):
    upstream = make_upstream()
    upstream.faults.append(Fault("status", status=400, raw=STRICT))
    relay(upstream)
    transport.submit(job())
    end = ended(transport)[-1]
    assert (end.reason, end.error_code, len(upstream.requests)) == ("failed", "invalid_messages", 1)
    assert "Conversation roles must alternate" in end.error_message


def test_an_answer_that_a_person_let_go_on_and_that_has_no_room_ends_at_its_length(transport, relay, make_upstream):
    upstream = make_upstream()
    too_long = b'{"error":{"message":"This model\'s maximum context length is 9","code":400}}'
    upstream.faults.extend(Fault("status", status=400, raw=too_long) for _ in range(9))
    relay(upstream)
    transport.submit(job(resume_text="So far", sampling=SAMPLING))
    end = ended(transport)[-1]
    assert (end.reason, end.error_code) == ("length", "")
