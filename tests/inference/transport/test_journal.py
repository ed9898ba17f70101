"""The memory transport's journal: what a killed process leaves behind."""

from __future__ import annotations

from inference.messages import EMBEDDING, ChatMessage, Ended, Job, Sampling, Started, Text, Vectors, WorkerReport
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


def answered(transport, name, *, released=True):
    transport.submit(Job(name, "t", "m", (), Sampling(8), 5))
    transport.claim("w", 1, 100)
    transport.publish("w", {name: [Started(1, "w", "m", "r", 5), Text(2, "x" * 100, (1,)), Ended(3, "stop", 1)]})
    if released:
        transport.release(name)


def test_a_line_cut_by_the_kill_stops_no_later_start(tmp_path):
    path = tmp_path / "journal"
    answered(MemoryTransport(journal=Journal(path)), "first", released=False)
    with path.open("ab") as file:
        file.write(b'second {"v":1,"kind":"te')
    for name in ("third", "fourth"):
        transport = MemoryTransport(journal=Journal(path))
        answered(transport, name, released=False)
    assert MemoryTransport(journal=Journal(path)).unreleased() == {"first", "third", "fourth"}


def test_what_a_restart_finds_can_be_released_and_the_journal_is_small_again(tmp_path):
    path = tmp_path / "journal"
    first = MemoryTransport(journal=Journal(path))
    answered(first, "saved", released=False)
    answered(first, "open", released=False)
    second = MemoryTransport(journal=Journal(path))
    assert second.unreleased() == {"saved", "open"}
    second.release("saved")
    second.release("open")
    assert path.stat().st_size == 0
    for number in range(5):
        answered(second, f"later{number}")
    assert path.stat().st_size == 0


def test_a_journal_that_is_never_idle_is_rewritten_when_it_has_grown(tmp_path, monkeypatch):
    monkeypatch.setattr("inference.transport.memory_logs.JOURNAL_BYTES", 2_000)
    path = tmp_path / "journal"
    transport = MemoryTransport(journal=Journal(path))
    answered(transport, "open", released=False)
    for number in range(200):
        answered(transport, f"done{number}")
    assert path.stat().st_size < 3_000
    assert MemoryTransport(journal=Journal(path)).log("open")[-1] == Ended(3, "stop", 1)


def test_nobody_else_on_the_machine_can_read_it(tmp_path):
    answered(MemoryTransport(journal=Journal(tmp_path / "run" / "journal")), "g", released=False)
    assert (tmp_path / "run" / "journal").stat().st_mode & 0o077 == 0
    assert (tmp_path / "run").stat().st_mode & 0o077 == 0


def test_embeddings_are_not_in_the_journal(tmp_path):
    """Nobody would ask for them again: whoever did has ended with this process."""
    path = tmp_path / "journal"
    transport = MemoryTransport(journal=Journal(path))
    transport.submit(Job("e", "t", "m", (), Sampling(8), 5, kind=EMBEDDING, texts=("private",)))
    transport.renew("w", WorkerReport("w", "ready", model="m", kind=EMBEDDING))
    transport.claim("w", 1, 100)
    transport.publish("w", {"e": [Started(1, "w", "m", "r", 5), Vectors(2, (0,), "AACAPw==", 3), Ended(3, "stop")]})
    assert path.stat().st_size == 0
    transport.release("e")
    assert MemoryTransport(journal=Journal(path)).unreleased() == frozenset()
