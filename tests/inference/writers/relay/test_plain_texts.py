"""What is read without a parser is what the parser would have read."""

from __future__ import annotations

import json

import pytest

from inference.writers.relay.sse import EventParser
from inference.writers.relay.stream_chunks import MOST_AT_ONCE, plain_texts, read_pieces


def event(text: object, *, ascii_only: bool = True, **more: object) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, **more}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=ascii_only).encode() + b"\n\n"


ONE, TWO = event("one "), event("two")
PLAIN = {
    "one": (ONE, ["one "]),
    "two": (ONE + TWO, ["one ", "two"]),
    "accents": (event("é\n\n", ascii_only=False), ["é\n\n"]),
    "null beside": (event("x", finish_reason=None, logprobs=None), ["x"]),
}
OTHER = {
    "nothing": b"",
    "half a character": event("\ud83d"),
    "an unfinished one": ONE + TWO[:-1],
    "a beginning": TWO[:20],
    "an end": event("x", finish_reason="stop"),
    "no text": event(""),
    "a list": event([{"type": "text", "text": "x"}]),
    "another choice": event("x", index=1),
    "a name": b"event: error\n" + ONE,
    "a comment": b": ping\n\n" + ONE,
    "done": ONE + b"data: [DONE]\n\n",
    "two lines of data": b'data: {"choices": [{"delta":\ndata: {"content": "x"}}]}\n\n',
    "carriage returns": ONE.replace(b"\n", b"\r\n"),
    "a lone carriage return": ONE.replace(b"}]}", b"}]\r}"),
    "no space": ONE.replace(b"data: ", b"data:"),
    "an empty line too many": b"\n" + ONE,
    "an error": b'data: {"error": {"message": "x"}, "choices": [{"delta": {"content": "x"}}]}\n\n',
    "a chance": event("x", logprobs={"content": []} | {"x": 1}),
    "very much": ONE * (MOST_AT_ONCE // len(ONE) + 1),
}


@pytest.mark.parametrize("name", PLAIN)
def test_texts_alone_are_read_as_the_parser_reads_them(name):
    chunk, texts = PLAIN[name]
    assert plain_texts(chunk) == texts
    pieces = list(read_pieces(EventParser().feed(chunk)))
    assert ("".join(piece.text for piece in pieces), sum(piece.tokens for piece in pieces)) == (
        "".join(texts),
        len(texts),
    )


@pytest.mark.parametrize("name", OTHER)
def test_anything_else_is_left_to_the_parser(name):
    assert plain_texts(OTHER[name]) == []


@pytest.mark.parametrize("cut", range(1, len(TWO)))
def test_a_parser_in_the_middle_of_an_event_says_so(cut):
    parser = EventParser()
    assert parser.is_between
    parser.feed(ONE + TWO[:cut])
    assert not parser.is_between
    parser.feed(TWO[cut:])
    assert parser.is_between
