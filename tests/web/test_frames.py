"""Frames as their types, or refused by field."""

from __future__ import annotations

import uuid

import pytest

from chatapp.web.frames import BadFrame, Ping, Send, Subscribe, parse_frame

KEY = uuid.UUID("01a1fc2b-e627-7e8f-b90e-4b43b76cbeac")


def send(text, **fields):
    more = "".join(f', "{name}": {value}' for name, value in fields.items())
    return f'{{"type": "send", "ref": "r1", "key": "{KEY}", "text": {text}{more}}}'


def test_a_frame_becomes_its_type_and_what_is_not_known_is_ignored():
    frame = parse_frame(send('"Hi"', conversation="null", model="null", later='{"a": [1]}'))
    assert frame == Send(ref="r1", key=KEY, text="Hi")
    assert parse_frame('{"type": "ping"}') == Ping()


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r'"a \ud83d b"', "a \ufffd b"),
        (r'"\udc00"', "\ufffd"),
        (r'"\ud83d"', "\ufffd"),
        (r'"\udc00\ud83d"', "\ufffd\ufffd"),
        (r'"\ud83e\udd8a \ud83d"', "🦊 \ufffd"),
    ],
)
def test_half_a_character_is_read_as_the_sign_for_it(escaped, text):
    assert parse_frame(send(escaped)) == Send(ref="r1", key=KEY, text=text)


@pytest.mark.parametrize(
    ("frame", "named", "ref"),
    [
        (send("7"), "$.text", "r1"),
        (send(r'"\ud83d"', model="7"), "$.model", "r1"),
        (send('"Hi"', parent='"x"'), "$.parent", "r1"),
        ('{"type": "send", "ref": 3, "text": "Hi"}', "`key`", 3),
        (
            f'{{"type": "subscribe", "ref": 3, "message": "{KEY}", "generation": "{KEY}", "after_seq": -1}}',
            "after_seq",
            3,
        ),
        (f'{{"type": "stop", "ref": 3, "message": ["{KEY}"]}}', "$.message", 3),
        ('{"type": "fly", "ref": 3}', "fly", 3),
        ('{"type": 3, "ref": 3}', "type", 3),
        ('{"ref": 3}', "type", 3),
        ('{"ref": {"a": 1}}', "type", None),
        ("[]", "one JSON object", None),
        ("null", "one JSON object", None),
        ('"\\ud83d"', "one JSON object", None),
        ("{", "one JSON object", None),
        ("", "one JSON object", None),
        ("[" * 100_000, "one JSON object", None),
        ('{"type":"ping","ref":' + "[" * 100_000, "one JSON object", None),
    ],
)
def test_what_is_wrong_is_named_to_whoever_sent_it(frame, named, ref):
    with pytest.raises(BadFrame) as refused:
        parse_frame(frame)
    assert named in refused.value.message
    assert (refused.value.code, refused.value.ref) == ("bad_request", ref)


def test_numbers_that_are_whole_are_numbers():
    frame = parse_frame(f'{{"type": "subscribe", "message": "{KEY}", "generation": "{KEY}", "after_seq": 4}}')
    assert frame == Subscribe(message=KEY, generation=KEY, after_seq=4)
