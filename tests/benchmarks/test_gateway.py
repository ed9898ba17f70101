"""The gateway's benchmark: its model server, its readers and its sums. The product between them has its own tests."""

from __future__ import annotations

import asyncio
import os
import struct
import subprocess
import sys

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import ApiKey
from benchmarks.gateway.clients import Answer, Caller, Page, read_frame
from benchmarks.gateway.figures import Case, Measured, is_held, summarise
from benchmarks.gateway.load import calling, run
from benchmarks.gateway.people import create_people
from benchmarks.gateway.processes import cpu_seconds, rss_bytes
from benchmarks.gateway.upstream import MODEL, Connection, question, read_tokens, token

CASE = Case(streams=2, tokens=3, rate=20, starts=10.0)


def answer(*numbers: int, late: float = 0.01, stored: int | None = None, ended: bool = True) -> Answer:
    """Asked at 0; its tokens sent half a second apart."""
    sent = [0.5 * (place + 1) for place in range(len(numbers))]
    at = [when + late for when in sent]
    return Answer(0.0, list(numbers), sent, at, text=9, stored=stored, ended=ended, error="" if ended else "cut")


@pytest.fixture
async def server():
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()


def test_a_token_tells_its_number_and_when_it_was_sent():
    (first, sent), (second, later) = read_tokens(token(7) + token(8))
    assert (first, second) == (7, 8)
    assert 0 <= later - sent < 1


async def test_a_caller_reads_every_token_with_its_time_and_the_pace_is_kept(server):
    told = await Caller("", MODEL).ask(server, question(tokens=5, rate=50), 10)
    assert (told.numbers, told.ended, told.error) == ([0, 1, 2, 3, 4], True, "")
    assert told.sent[-1] - told.sent[0] >= 0.075
    assert all(0 <= at - sent < 1 for sent, at in zip(told.sent, told.at, strict=True))


async def test_without_a_pace_a_model_server_writes_as_fast_as_it_is_read(server):
    told = await Caller("", MODEL).ask(server, question(tokens=5_000, rate=0), 30)
    assert told.numbers == list(range(5_000))


async def test_a_case_asks_in_turn_and_sums_up(server):
    row = await run(CASE, calling(server, "", MODEL))
    assert (row["held"], row["tokens"], row["lost"], row["doubled"], row["errors"]) == (2, 6, 0, 0, {})
    assert row["first_token_p95_ms"] < 1000


async def test_a_server_that_is_not_there_is_an_error_of_each_answer():
    row = await run(CASE, calling(("127.0.0.1", 1), "", MODEL))
    assert (row["held"], row["lost"], sum(row["errors"].values())) == (0, 6, 2)


async def test_a_refusal_and_an_end_without_done_are_errors(monkeypatch):
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b'HTTP/1.1 200 OK\r\n\r\ndata: {"choices":[{"delta":{"content":"0.1 "}}]}\n\n')
        writer.close()

    for serve, said in ((refuse, "429"), (cut, "closed")):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        told = await Caller("", MODEL).ask(server.sockets[0].getsockname(), "Hello", 5)
        server.close()
        assert not told.ended
        assert said in told.error


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (answer(0, 1, 2), True),
        (answer(0, 1, 2, stored=9), True),
        (answer(0, 1, 2, stored=8), False),
        (answer(0, 1, 2, late=0.2), False),
        (answer(0, 2), False),
        (answer(0, 1, 1, 2), False),
        (answer(0, 2, 1), False),
        (answer(0, 1, 2, ended=False), False),
    ],
)
def test_a_stream_is_held_when_all_came_once_in_order_in_time_and_was_stored(given, held):
    assert is_held(given, 3) is held


def test_figures_count_what_was_lost_doubled_and_unlike_the_database():
    answers = [answer(0, 0, 1, stored=7), answer(0, 1, 2, ended=False)]
    cpu = {"web": 0.3, "worker": 0.2, "redis": 0.1, "postgresql": 0.05}
    row = summarise(Measured(CASE, answers, 0.0, 3.0, cpu, rss={"web": 150_000_000}))
    assert (row["held"], row["lost"], row["doubled"], row["unlike_the_database"]) == (0, 1, 1, 1)
    assert row["errors"] == {"cut": 1}
    assert (row["first_token_p50_ms"], row["added_p95_ms"]) == (510.0, 10.0)
    each = row["cpu_ms_per_1000_tokens"]
    assert (each["web"], each["postgresql"], each["all"]) == (50_000.0, 8333.3, 100_000.0)
    assert row["rss_mb"] == {"web": 150.0}


def test_the_steady_part_lies_between_the_last_start_and_the_first_end():
    assert Case(streams=100, tokens=400, rate=20, starts=25.0).steady == (6.0, 19.0)
    assert CASE.steady is None
    assert Case(streams=16, tokens=2000, rate=0, starts=1000.0).steady is None


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_of_every_size_are_read_whole_or_not_yet(size):
    length = bytes([min(size, 125)])
    if size > 125:
        length = struct.pack("!BH", 126, size) if size < 65_536 else struct.pack("!BQ", 127, size)
    frame = b"\x81" + length + b"x" * size
    assert read_frame(frame + b"\x89\x00") == (1, b"x" * size, len(frame))
    assert read_frame(frame[:-1]) is None


def test_people_are_logged_in_members_with_a_conversation_and_a_key(db, transport):
    told = create_people(2)
    person = told["people"][1]
    client = Client()
    client.cookies[settings.SESSION_COOKIE_NAME] = person["session"]
    page = client.get(f"/w/{told['slug']}/chat/{person['conversation']}/")
    assert page.status_code == 200
    assert client.get(f"/w/{told['slug']}/chat/{told['people'][0]['conversation']}/").status_code == 404
    assert ApiKey.find(told["key"]).member_is_active


async def test_a_page_that_is_refused_does_not_open(server):
    with pytest.raises(Exception, match="200 OK"):  # the model server speaks no WebSocket
        await Page({"session": "", "conversation": ""}, "gateway").open(server)


def test_processor_time_counts_a_leaders_children_that_have_ended():
    burn = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.2: pass"
    script = (
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {burn!r}]); print('.', flush=True); input()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    process.stdout.readline()
    assert cpu_seconds(process.pid) >= 0.2
    assert rss_bytes(os.getpid()) > rss_bytes(process.pid) > 2**20
    process.communicate(b"\n")
