"""Jobs for a worker over a real engine, and what that engine writes by itself."""

from __future__ import annotations

from dataclasses import replace

from inference.engine import LLMEngine
from inference.messages import ChatMessage, Job, Sampling, Started, Text

SAMPLING = Sampling(max_tokens=24, temperature=0.0)


def job(job_id="g", *texts, sampling=SAMPLING, **fields):
    messages = tuple(
        ChatMessage("user" if n % 2 == 0 else "assistant", text) for n, text in enumerate(texts or ("the fox",))
    )
    return Job(job_id, "t", "m", messages, sampling, prompt_tokens=10, **fields)


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


def wanting(**wanted):
    return replace(SAMPLING, max_tokens=60, **wanted)


def begun(transport, name, sampling, token_ids=(), text="", without_ids=0):
    """A job of which a worker that is gone has published so much."""
    transport.submit(job(name, sampling=sampling))
    claims = transport.claim("gone", 8, 10_000)  # those handed back before come again
    events = [Started(1, "gone", "m", "r", 5), Text(2, text, tuple(token_ids), without_ids)]
    assert transport.publish("gone", {name: events}) == frozenset()
    transport.hand_back("gone", [claim.job.id for claim in claims])
