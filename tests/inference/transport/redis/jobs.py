"""Jobs, and what their log says; nothing while the server is away."""

from __future__ import annotations

from inference.errors import TransportUnavailable, UnknownGeneration
from inference.messages import ChatMessage, Job, Sampling, Started, Text


def job(name, tenant="t", **fields):
    fields = {"model": "m", "prompt_tokens": 5, **fields}
    return Job(name, tenant, messages=(ChatMessage("user", "hi"),), sampling=Sampling(8), **fields)


def text(seq, word):
    return Text(seq, word, (seq,))


STARTED = Started(1, "w", "m", "r", 5)


def claimed(transport, worker="w", slots=8):
    return [claim.job.id for claim in transport.claim(worker, slots, 10_000)]


def read(transport, generation):
    """The log; none while the server is away or does not know it."""
    try:
        return transport.log(generation)
    except (TransportUnavailable, UnknownGeneration):
        return []
