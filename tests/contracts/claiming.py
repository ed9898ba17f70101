"""What a worker does first, in a line."""

from __future__ import annotations

from inference.messages import Started

STARTED = Started(1, "w", "m", "r", 10)


def claim_ids(transport, worker="w", slots=8, kv=10_000):
    return [claim.job.id for claim in transport.claim(worker, slots, kv)]
