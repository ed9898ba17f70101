"""Server-sent events, however the network cuts them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import UpstreamError
from inference.writers.relay.sse import EventParser
from inference.writers.relay.stream_chunks import Piece, Usage, read_pieces

LINE_ENDS = (b"\n", b"\r", b"\r\n")
DATA = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=30)
EVENTS = st.lists(st.tuples(st.sampled_from(["", "error"]), st.lists(DATA, min_size=1, max_size=3)), max_size=6)


def parse(parser, chunks):
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.finish()


def cut(raw, places):
    """``raw`` in pieces, cut at ``places``."""
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges)]


@given(EVENTS, st.sampled_from(LINE_ENDS), st.lists(st.integers(0, 2000), max_size=20), st.booleans())
def test_events_are_the_same_wherever_they_are_cut(events, end, places, with_comments):
    raw, expected = b"", []
    for name, lines in events:
        raw += b": keep-alive" + end + end if with_comments else b""
        raw += b"event: " + name.encode() + end if name else b""
        raw += b"".join(b"data: " + line.encode() + end for line in lines) + end
        expected.append((name.encode(), "\n".join(lines).encode()))
    assert parse(EventParser(), cut(raw, places)) == expected


@given(st.binary(max_size=500), st.lists(st.integers(0, 500), max_size=10))
def test_any_bytes_are_read_the_same_whole_and_in_pieces(raw, places):
    assert parse(EventParser(), cut(raw, places)) == parse(EventParser(), [raw])


@given(st.integers(1, 400), st.integers(1, 50))
def test_no_more_than_the_longest_event_is_kept(size, chunk):
    """In one line, in many lines of data, and in a comment."""
    for raw in (b"data: " + b"x" * size, b"data: x\n" * size, b":" + b"x" * size + b"\n"):
        parser = EventParser(longest=100)
        pieces = [raw[n : n + chunk] for n in range(0, len(raw), chunk)]
        if len(raw.replace(b"\n", b"")) <= 100:
            parse(parser, pieces)
        else:
            with pytest.raises(UpstreamError, match="over 100 bytes"):
                parse(parser, pieces)


def test_the_limit_is_of_one_event_and_not_of_all():
    parser = EventParser(longest=100)
    raw = b"data: " + b"x" * 60 + b"\n\n"
    assert len(parse(parser, [raw] * 50)) == 50


def test_a_byte_order_mark_is_no_part_of_the_first_field():
    assert parse(EventParser(), [b"\xef\xbb\xbfdata: a\n\n"]) == [(b"", b"a")]


TEXT = b'{"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":%b}]}'


def test_text_that_follows_text_is_one_piece():
    usage = b'{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    plain = [TEXT % (word, b"null") for word in (b"a", b"b", b"c")]
    events = [*plain, TEXT % (b"d", b'"stop"'), *plain[:1], usage, b"[DONE]"]
    pieces = list(read_pieces((b"", event) for event in events))
    assert pieces == [
        Piece("abc", 3),
        Piece("d", 1, finish="stop"),
        Piece("a", 1),
        Piece(usage=Usage(3, 4)),
        Piece(done=True),
    ]


def test_what_came_before_an_error_is_told_before_it():
    pieces = read_pieces([(b"", TEXT % (b"a", b"null")), (b"", b'{"error":"no"}')])
    assert next(pieces) == Piece("a", 1)
    with pytest.raises(UpstreamError, match="no"):
        next(pieces)
