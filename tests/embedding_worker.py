"""A worker that embeds, whole but for its model: one that knows words by their length, and is held by a test."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np

from inference.embed.embedder import Encoded
from inference.embed.folder import ModelFolder
from inference.messages import EMBEDDING
from inference.transport import Transport
from inference.worker.loop import Worker
from inference.writers.embed import EmbedWriter
from tests.inference.logs import wait_until

FOLDER = ModelFolder(Path("none"), dimensions=4, layers=1, heads=1, activation="gelu", epsilon=0.0, longest=16)


class Words:
    """A token for each word, and one before and after. ``go_on`` is cleared to hold it in the midst of a step."""

    folder, revision = FOLDER, "r1"

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.pace = 0.0  # seconds of a step
        self.steps: list[int] = []

    def encode(self, texts):
        tokens = [[0, *map(len, text.split()), 0] for text in texts]
        return [Encoded(ids[: FOLDER.longest], len(ids) > FOLDER.longest) for ids in tokens]

    def embed(self, token_ids):
        self.steps.append(len(token_ids))
        assert self.go_on.wait(30)
        time.sleep(self.pace)
        return np.stack([vector(ids) for ids in token_ids])


def vector(token_ids):
    """Of length 1, and another for other tokens."""
    rows = np.array([1.0, len(token_ids), sum(token_ids), sum(n * n for n in token_ids)], np.float32)
    return rows / np.linalg.norm(rows)


class Embedder:
    """A worker in a thread; ``end`` it."""

    def __init__(self, transport: Transport, name: str = "e1", model: str = "embeds", **options) -> None:
        self.words = Words()
        writer = EmbedWriter(FOLDER, lambda: self.words, **options)
        self.worker = Worker(transport, lambda tell: writer, name=name, model=model, kind=EMBEDDING)
        self._thread = threading.Thread(target=self.worker.run)
        self._thread.start()
        wait_until(lambda: any(report.worker == name and report.counters for report in transport.stats().workers))

    def end(self) -> None:
        self.worker.stop()
        self.words.go_on.set()
        self._thread.join(10)
        assert not self._thread.is_alive()
