"""Jobs for a relay, and pieces of what servers answer to them."""

from __future__ import annotations

from inference.messages import ChatMessage, Job, Sampling
from tests.fake_upstream import event

SAMPLING = Sampling(max_tokens=100, temperature=0.5, stop=("END",))


def job(job_id="g", *texts, sampling=SAMPLING, **fields):
    messages = tuple(
        ChatMessage("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts or ("hello you",))
    )
    return Job(job_id, "t", "m", messages, sampling, **{"prompt_tokens": 10} | fields)


def text(content):
    return event({"choices": [{"index": 0, "delta": {"content": content}}]})


END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
