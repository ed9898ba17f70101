"""What only the memory transport can do."""

from __future__ import annotations

from inference.messages import Job, Sampling, Started, Text, WorkerReport
from inference.transport import MemoryTransport


def test_the_jobs_of_a_worker_that_is_known_to_be_dead_go_on_at_once():
    transport = MemoryTransport(clock=lambda: 100.0)
    transport.renew("w", WorkerReport("w", "ready", at=100.0))
    transport.submit(Job("g", "t", "m", (), Sampling(8), 5))
    transport.claim("w", 1, 100)
    transport.publish("w", {"g": [Started(1, "w", "m", "r", 5), Text(2, "ab", (7, 8))]})
    transport.bury("w")
    assert transport.stats().workers == ()
    (claim,) = transport.claim("w", 1, 100)
    assert (claim.token_ids, claim.next_seq, claim.attempt) == ((7, 8), 3, 2)
    transport.bury("w")
    assert transport.log("g")[-1].error_code == "worker_lost"
    assert transport.claim("w", 1, 100) == []
