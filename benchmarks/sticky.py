"""How often a conversation's next turn finds the worker that has its keys and values, with two workers.

Real Redis, claims and leases; the workers only wait as long as an answer takes. The same load with and
without the 200 ms that a turn waits for its worker.

    python -m benchmarks.sticky --redis redis://localhost:6379/9 [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import statistics
import sys
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference.messages import ChatMessage, Claim, Ended, Job, Sampling, Started, WorkerReport
from inference.transport import RedisTransport

ANSWER_SECONDS, THINK_SECONDS = 0.4, 0.5  # means of exponential times
WORKERS = ("one", "two")


@dataclass
class Load:
    """What happened: who ran each conversation's turns, and how long each turn waited, in seconds."""

    transport: RedisTransport
    slots: int
    ran: dict[str, list[str]] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    ended: dict[str, threading.Event] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def work(self, name: str) -> None:
        """A worker: claims what its slots take, and ends each answer after a while."""
        running: list[tuple[float, Claim]] = []
        chance = random.Random(name)
        while not self.over.is_set():
            self.transport.renew(name, WorkerReport(name, "ready", model="m"))
            wait = min((until for until, _ in running), default=time.monotonic() + 0.2) - time.monotonic()
            for claim in self.transport.claim(name, self.slots - len(running), 10**6, max(0.0, wait)):
                self.begin(name, claim)
                running.append((time.monotonic() + chance.expovariate(1 / ANSWER_SECONDS), claim))
            if len(running) == self.slots:
                time.sleep(max(0.0, min(until for until, _ in running) - time.monotonic()))
            now = time.monotonic()
            for until, claim in running:
                if until <= now:
                    self.end(name, claim)
            running = [(until, claim) for until, claim in running if until > now]

    def begin(self, name: str, claim: Claim) -> None:
        self.waits.append(time.time() - claim.job.submitted_at)
        self.ran[claim.job.conversation].append(name)

    def end(self, name: str, claim: Claim) -> None:
        self.transport.publish(name, {claim.job.id: [Started(1, name, "m", "r", 10), Ended(2, "stop")]})
        self.ended[claim.job.id].set()

    def talk(self, conversation: str, turns: int) -> None:
        """A person: asks, reads, thinks."""
        chance = random.Random(conversation)
        for _ in range(turns):
            time.sleep(chance.expovariate(1 / THINK_SECONDS))
            job = self.job(conversation)
            self.transport.submit(job)
            self.ended[job.id].wait()

    def job(self, conversation: str) -> Job:
        name = uuid.uuid4().hex
        self.ended[name] = threading.Event()
        words, at = (ChatMessage("user", "hi"),), time.time()
        return Job(name, conversation, "m", words, Sampling(64), 10, conversation=conversation, submitted_at=at)


def run(url: str, *, sticky: float, people: int, turns: int, slots: int) -> dict[str, Any]:
    transport = RedisTransport(url, prefix=f"{{sticky-{uuid.uuid4().hex[:8]}}}:", sticky=sticky)
    load = Load(transport, slots, ran={f"c{n}": [] for n in range(people)})
    workers = [threading.Thread(target=load.work, args=(name,)) for name in WORKERS]
    talkers = [threading.Thread(target=load.talk, args=(name, turns)) for name in load.ran]
    for thread in workers + talkers:
        thread.start()
    for thread in talkers:
        thread.join()
    load.over.set()
    for thread in workers:
        thread.join()
    transport.close()
    pairs = [same for names in load.ran.values() for same in itertools.pairwise(names)]
    shares = Counter(name for names in load.ran.values() for name in names)
    return {
        "sticky_seconds": sticky,
        "people": people,
        "slots": slots,
        "hit_rate": round(sum(before == after for before, after in pairs) / len(pairs), 3),
        "wait_p50_ms": round(statistics.median(load.waits) * 1000, 1),
        "wait_p95_ms": round(statistics.quantiles(load.waits, n=20)[-1] * 1000, 1),
        "share_of_the_busier": round(max(shares.values()) / sum(shares.values()), 3),
    }


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sticky")
    parser.add_argument("--redis", required=True)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = []
    for people, slots in ((12, 16), (24, 8), (40, 8)):
        for sticky in (0.0, 0.2):
            rows.append(run(options.redis, sticky=sticky, people=people, turns=options.turns, slots=slots))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()))
    if options.json:
        options.json.write_text(json.dumps({"runs": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
