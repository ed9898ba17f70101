"""Every field of a call: taken, ignored, or refused by name."""

from __future__ import annotations

import orjson
import pytest

from chatapp.v1.errors import InvalidCall
from chatapp.v1.schemas import parse_call
from inference.messages import ChatMessage, Sampling

LIMITS = {"most_tokens": 100, "most_answers": 4}
HELLO = [{"role": "user", "content": "Hello"}]


def parse(**fields):
    return parse_call(orjson.dumps({"model": "m", "messages": HELLO, **fields}), **LIMITS)


def refused(body=None, **fields):
    with pytest.raises(InvalidCall) as error:
        parse_call(body, **LIMITS) if body is not None else parse(**fields)
    return error.value.param, error.value.code


def test_the_least_that_a_call_can_be():
    call = parse()
    assert call.messages == (ChatMessage("user", "Hello"),)
    assert call.sampling == Sampling(max_tokens=100)
    assert (call.model, call.stream, call.include_usage, call.cache_key) == ("m", False, False, "")


def test_null_is_not_set():
    assert parse(stop=None, seed=None, tools=None, temperature=None, stream=None, stream_options=None) == parse()


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "u-1"},
        {"metadata": {"a": "b"}},
        {"store": True},
        {"n": 1},
        {"logprobs": False, "top_logprobs": 0},
        {"logit_bias": {}, "stop_token_ids": [], "min_tokens": 0},
        {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True},
        {"response_format": {"type": "text"}},
    ],
)
def test_what_changes_nothing_is_taken(fields):
    assert parse(**fields) == parse()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("tool_choice", "required"),
        ("response_format", {"type": "grammar"}),
        ("response_format", {}),
        ("response_format", "json_object"),
        ("reasoning_effort", "low"),
    ],
)
def test_what_is_not_offered_is_refused_by_name(name, value):
    assert refused(**{name: value}) == (name, "unsupported_parameter")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model", ""),
        ("model", 3),
        ("messages", []),
        ("messages", "Hello"),
        ("temperature", 2.1),
        ("temperature", "hot"),
        ("temperature", True),
        ("top_p", -0.1),
        ("max_tokens", 0),
        ("max_tokens", -2),
        ("max_completion_tokens", 0),
        ("max_completion_tokens", 1.5),
        ("seed", 1 << 63),
        ("seed", "7"),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ["a", ""]),
        ("stop", 3),
        ("stream", "yes"),
        ("stream_options", {"include_usage": True}),
        ("prompt_cache_key", "k" * 65),
        ("n", 0),
        ("n", 5),
        ("n", True),
        ("presence_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", "much"),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("logit_bias", [1]),
        ("logit_bias", {"fox": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"9" * 5000: 1}),
        ("logit_bias", {"2147483648": 1}),
        ("logit_bias", {"1": 100.5}),
        ("logit_bias", {"1": "a"}),
        ("logit_bias", {str(token): 1 for token in range(1025)}),
        ("logprobs", 3),
        ("top_logprobs", 2),
        ("stop_token_ids", 3),
        ("stop_token_ids", [-1]),
        ("stop_token_ids", [True]),
        ("stop_token_ids", list(range(65))),
        ("min_tokens", 101),
    ],
)
def test_a_wrong_value_is_refused_by_name(name, value):
    assert refused(**{name: value}) == (name, "invalid_value")


def test_how_tokens_are_drawn():
    sampling = parse(
        max_tokens=50,
        min_tokens=5,
        presence_penalty=1,
        frequency_penalty=-0.5,
        repetition_penalty=1.1,
        logit_bias={"7": -100, "8": 2.5},
        logprobs=True,
        top_logprobs=3,
        stop_token_ids=[4],
    ).sampling
    assert sampling == Sampling(
        50,
        min_tokens=5,
        presence_penalty=1.0,
        frequency_penalty=-0.5,
        repetition_penalty=1.1,
        logit_bias=((7, -100.0), (8, 2.5)),
        logprobs=3,
        stop_token_ids=(4,),
    )


@pytest.mark.parametrize(
    ("fields", "most"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 20}, 20)],
)
def test_how_many_log_probabilities(fields, most):
    assert parse(**fields).sampling.logprobs == most


def test_several_answers():
    assert (parse().answers, parse(n=4).answers) == (1, 4)


def shaped(**named):
    return {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, **named}}


def test_the_shape_of_an_answer():
    assert parse(response_format={"type": "json_object"}).sampling.json_schema == '{"type":"object"}'
    schema = {"type": "object", "properties": {"näme": {"type": "string"}}}
    assert orjson.loads(parse(response_format=shaped(schema=schema)).sampling.json_schema) == schema


@pytest.mark.parametrize(
    ("schema", "code"),
    [
        (None, "missing_parameter"),
        ([], "invalid_value"),
        ("{}", "invalid_value"),
        ({"description": "x" * 70_000}, "invalid_value"),
    ],
)
def test_a_schema_that_is_none(schema, code):
    assert refused(response_format=shaped(schema=schema)) == ("response_format.json_schema.schema", code)
    assert refused(response_format={"type": "json_schema"})[1] == "missing_parameter"


def test_a_schema_that_is_nested_too_deeply_is_refused_by_name():
    deep = b'{"items":' * 600 + b"{}" + b"}" * 600
    said = orjson.dumps({"model": "m", "messages": HELLO})[:-1]
    body = said + b',"response_format":{"type":"json_schema","json_schema":{"name":"a","schema":' + deep + b"}}}"
    assert refused(body) == ("response_format.json_schema.schema", "invalid_value")


def test_what_nobody_knows_is_refused():
    assert refused(temprature=1) == ("temprature", "unknown_parameter")
    assert refused(stream=True, stream_options={"colour": 1}) == ("stream_options.colour", "unknown_parameter")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"model": null, "messages": []}', ("model", "missing_parameter")),
        (b'{"model": "m", "messages": null}', ("messages", "missing_parameter")),
        (b'{"a.b - at `$.model`": 1}', ("a.b - at `$.model`", "unknown_parameter")),
        (b'{"x": 1, "y"', (None, "invalid_json")),
        (b"null", (None, "invalid_json")),
        (b"[" * 100_000, (None, "invalid_json")),
        (b'{"user": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", (None, "invalid_json")),
        (b'{"user": "\\ud800"}', (None, "invalid_json")),
    ],
)
def test_odd_bodies(body, told):
    assert refused(body) == told


def words(body=None, **fields) -> str:
    with pytest.raises(InvalidCall) as error:
        parse_call(body, **LIMITS) if body is not None else parse(**fields)
    return error.value.message


@pytest.mark.parametrize(
    ("bias", "said"),
    [
        ({"7": 1, "fox": 1}, "its key 'fox' is not the number of a token"),
        ({"-1": 1}, "its key '-1' is"),
        ({"7.0": 1}, "its key '7.0' is"),
        ({"": 1}, "its key '' is"),
        ({"2147483648": 1}, "its key '2147483648' is"),
        ({"9" * 5000: 1}, f"its key '{'9' * 60}' is"),
        ({"a\u202eb\nc": 1}, "its key 'ab c' is"),
        ({"7": 1, "8": 100.5}, "that of its key '8' has to be a number from -100 to 100"),
        ({"7": None}, "that of its key '7' has"),
        ({"7": "1"}, "that of its key '7' has"),
        ([7], "expected `object`"),
        ({str(token): 1 for token in range(1025)}, "1,024 tokens at most"),
    ],
)
def test_a_wrong_bias_names_its_key(bias, said):
    assert said in words(logit_bias=bias)


ASKED = b'{"model": "m", "messages": [{"role": "user", "content": "%b"}]}'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf" + ASKED, "byte order mark"),
        (ASKED.decode().encode("utf-16"), "UTF-16"),
        (ASKED.decode().encode("utf-16-be"), "UTF-16"),
        (ASKED.decode().encode("utf-32-le"), "UTF-16 or UTF-32"),
        (ASKED % "é".encode("latin-1"), f"not in UTF-8: byte 0xe9 at {ASKED.index(b'%b')} does"),
        (ASKED % b"\xed\xa0\xbd", f"not in UTF-8: byte 0xed at {ASKED.index(b'%b')} does"),
        (b"\xff" + ASKED, "not in UTF-8: byte 0xff at 0 does"),
        (ASKED % b"a \\ud83d b", "half a character"),
        (ASKED % b"a \\udc00 b", "half a character"),
        (ASKED % b"a \\ud83d", "half a character"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"user": ' * 5000 + b"1" + b"}" * 5000, "nested too deeply"),
        (b'{"model": "m",}', "not valid JSON: trailing comma"),
        (b"{'model': 'm'}", "not valid JSON: object keys"),
        (b"model=m", "not valid JSON: invalid character"),
        (b'{"seed": NaN}', "not valid JSON: invalid character"),
        (b'{"model": 5, "model": "m", "messages": []}', "got `int`. It is given twice."),
        (b'{"model": "m", "messages": [], "messages": [{"role": "user", "content": 5}]}', "It is given twice."),
        (b'{"model": 5, "seed": ' + b"9" * 5000 + b"}", "'model' is not valid"),
    ],
)
def test_what_is_no_json_is_told_why(body, said):
    assert said in words(body)


@pytest.mark.parametrize("name", ["a\nb", "a\u202eb", "x" * 500, "\x00", "\u200b"])
def test_a_name_that_nobody_knows_is_shown_on_one_line_and_as_it_reads(name):
    with pytest.raises(InvalidCall) as error:
        parse(**{name: 1})
    shown = error.value.message + str(error.value.param)
    assert len(shown) < 200
    assert shown.isprintable()
    assert error.value.code == "unknown_parameter"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user", 5),
        ("metadata", []),
        ("metadata", "a"),
        ("store", "yes"),
        ("service_tier", 1),
        ("safety_identifier", {}),
        ("prompt_cache_retention", 3),
        ("parallel_tool_calls", "true"),
    ],
)
def test_what_changes_nothing_has_its_type_all_the_same(name, value):
    assert refused(**{name: value}) == (name, "invalid_value")


def test_an_error_says_what_was_expected():
    with pytest.raises(InvalidCall, match=r"'temperature' is not valid: expected `float` <= 2\.0\."):
        parse(temperature=3)


def test_what_is_missing_is_named():
    assert refused(orjson.dumps({"messages": HELLO})) == ("model", "missing_parameter")
    assert refused(orjson.dumps({"model": "m"})) == ("messages", "missing_parameter")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"a": NaN}', b"\xff", b'"' + b"[" * 5000])
def test_a_body_that_is_no_object(body):
    assert refused(body) == (None, "invalid_json")


@pytest.mark.parametrize(
    ("given", "limit"),
    [({"max_tokens": 5}, 5), ({"max_completion_tokens": 6}, 6), ({"max_tokens": 5, "max_completion_tokens": 6}, 6)],
)
def test_the_newer_name_of_the_longest_answer_counts(given, limit):
    assert parse(**given).sampling.max_tokens == limit


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ({"max_tokens": 100}, 100),
        ({"max_tokens": 101}, 100),
        ({"max_completion_tokens": 1 << 60}, 100),
        ({"max_tokens": -1}, 100),
        ({"max_tokens": 5, "max_completion_tokens": -1}, 100),
    ],
)
def test_more_than_the_plan_allows_is_as_long_as_it_allows(given, limit):
    assert parse(**given).sampling.max_tokens == limit


def test_a_seed_of_minus_one_is_any():
    assert parse(seed=-1).sampling.seed is None
    assert (parse(seed=0).sampling.seed, parse(seed=-2).sampling.seed) == (0, (1 << 63) - 2)


def test_a_top_p_of_zero_is_the_least_that_engines_take():
    assert parse(top_p=0).sampling.top_p == 1e-6
    assert (parse(top_p=0.5).sampling.top_p, parse().sampling.top_p) == (0.5, None)


@pytest.mark.parametrize(
    "reply",
    [
        {"content": None},
        {},
        {"content": "", "reasoning_content": "I thought of this.", "reasoning": "And that."},
        {"content": None, "tool_calls": None, "function_call": None, "refusal": None, "annotations": [], "audio": None},
    ],
)
def test_a_reply_can_be_sent_back_as_it_came(reply):
    assert parse(messages=[*HELLO, {"role": "assistant", **reply}]).messages[1] == ChatMessage("assistant", "")


def test_roles_and_parts():
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    said = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": parts, "name": "Ada"},
        {"role": "assistant", "content": "Yes.", "refusal": None, "tool_calls": []},
        {"role": "user", "content": ""},
    ]
    assert parse(messages=said).messages == (
        ChatMessage("system", "Be brief."),
        ChatMessage("user", "one\ntwo"),
        ChatMessage("assistant", "Yes."),
        ChatMessage("user", ""),
    )


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("Hello", ("messages[1]", "invalid_value")),
        ({"role": "tool", "content": "x"}, ("messages[1].role", "invalid_value")),
        ({"role": ["user"], "content": "x"}, ("messages[1].role", "invalid_value")),
        ({"role": "user"}, ("messages[1].content", "invalid_value")),
        ({"role": "system", "content": None}, ("messages[1].content", "invalid_value")),
        ({"content": "x"}, ("messages[1].role", "invalid_value")),
        ({"role": "user", "content": "x", "colour": ""}, ("messages[1]", "unsupported_parameter")),
        ({"role": "user", "content": []}, ("messages[1].content", "invalid_value")),
        ({"role": "assistant", "content": "x", "tool_calls": [{}]}, ("messages[1]", "unsupported_parameter")),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {}}]},
            ("messages[1].content[0]", "unsupported_parameter"),
        ),
        ({"role": "user", "content": "x", "name": 5}, ("messages[1].name", "invalid_value")),
        ({"role": "user", "content": "x", "name": ["Ada"]}, ("messages[1].name", "invalid_value")),
        (
            {"role": "user", "content": [{"type": "text", "text": None}]},
            ("messages[1].content[0].text", "missing_parameter"),
        ),
        ({"role": "user", "content": [{"type": "text", "text": 5}]}, ("messages[1].content[0].text", "invalid_value")),
        ({"role": "user", "content": [{"type": "text"}]}, ("messages[1].content[0].text", "missing_parameter")),
        ({"role": "user", "content": ["x"]}, ("messages[1].content[0]", "invalid_value")),
        ({"role": "user", "content": [None]}, ("messages[1].content[0]", "invalid_value")),
        (
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": 5}]},
            ("messages[1].content[1]", "unsupported_parameter"),
        ),
    ],
)
def test_a_wrong_message_is_named_by_its_place(message, told):
    assert refused(messages=[*HELLO, message]) == told


def test_the_usage_of_a_stream():
    call = parse(stream=True, stream_options={"include_usage": True})
    assert (call.stream, call.include_usage) == (True, True)
