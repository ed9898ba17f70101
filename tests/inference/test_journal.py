"""The memory transport's journal: what a killed process leaves behind."""

from __future__ import annotations

from inference.messages import ChatMessage, Ended, Job, Sampling, Started, Text
from inference.transport import MemoryTransport
from inference.transport.journal import Journal


def test_a_new_process_finds_written_answers_and_interrupts_unfinished_ones(tmp_path):
    path = tmp_path / "run" / "journal"
    first = MemoryTransport(journal=Journal(path))
    for name in ("ended", "cut"):
        first.submit(Job(name, "t", "m", (ChatMessage("user", "hi"),), Sampling(8), 5))
    first.claim("w", 2, 100)
    first.publish("w", {"ended": [Started(1, "w", "m", "r", 5), Text(2, "whole", (1, 2)), Ended(3, "stop", 2)]})
    first.publish("w", {"cut": [Started(1, "w", "m", "r", 5), Text(2, "half é", (3, 4, 5))]})
    with path.open("ab") as file:
        file.write(b'cut {"v":1,"kind":"te')  # the kill came in the middle of a write

    second = MemoryTransport(journal=Journal(path))

    assert second.log("ended")[-1] == Ended(3, "stop", 2)
    _, text, end = second.log("cut")
    assert (text.text, end.seq, end.reason, end.output_tokens) == ("half é", 3, "interrupted", 3)


def test_the_journal_is_empty_once_every_answer_is_in_the_database(tmp_path):
    path = tmp_path / "journal"
    transport = MemoryTransport(journal=Journal(path))
    for name in ("a", "b"):
        transport.submit(Job(name, "t", "m", (), Sampling(8), 5))
    transport.claim("w", 2, 100)
    transport.publish("w", {"a": [Ended(1, "stop")], "b": [Ended(1, "stop")]})
    transport.release("a")
    assert path.stat().st_size > 0
    transport.release("b")
    assert path.stat().st_size == 0
