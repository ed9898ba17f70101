"""Whatever the model wants to write, the answer matches; and a bad schema is refused with its code."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from tokenizers import decoders

from inference.engine import SamplingParams, StructuredOutputsParams
from inference.engine.schemas import find_endless
from inference.engine.structured import find_fault
from inference.errors import InferenceError, InvalidStructure
from tests.inference.engine.driving import drain, text_of, tokens_of

PROMPT = [40, 41, 42, 43, 44, 45, 46, 47, 48]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 5}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
    "required": ["name", "age"],
    "additionalProperties": False,
}

Factory = Callable[..., Any]


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


def guided(seed: int = 0, **stated: Any) -> SamplingParams:
    return SamplingParams(max_tokens=150, seed=seed, structured_outputs=StructuredOutputsParams(**stated))


def run(engine: Any, params: SamplingParams) -> tuple[str, str]:
    engine.add_request("r", PROMPT, params)
    outputs = drain(engine)["r"]
    return text_of(outputs), outputs[-1].finish_reason


@pytest.mark.parametrize("stated", [SCHEMA, json.dumps(SCHEMA)])
def test_an_answer_matches_its_schema_and_ends_when_nothing_can_follow(stated: Any, make_engine: Factory) -> None:
    engine = make_engine()
    for seed in range(5):
        text, reason = run(engine, guided(seed, json=stated))
        person = json.loads(text)
        assert (sorted(person), reason) == (["age", "name"], "stop")
        assert len(person["name"]) <= 5
        assert 0 <= person["age"] <= 99


def test_an_answer_matches_its_regular_expression(make_engine: Factory) -> None:
    engine = make_engine()
    for seed in range(5):
        text, reason = run(engine, guided(seed, regex=r"[a-f]{3}-\d+x"))
        assert re.fullmatch(r"[a-f]{3}-\d+x", text)
        assert reason == "stop"


def test_a_choice_is_one_of_the_strings(make_engine: Factory) -> None:
    engine = make_engine()
    choices = ['a "b"', "c\\d\n", "é/😀", "red"]
    answers = {run(engine, guided(seed, choice=choices))[0] for seed in range(30)}
    assert answers == set(choices)


def test_a_json_object_is_one_and_spaces_in_it_end(make_engine: Factory) -> None:
    text, _ = run(make_engine(), guided(3, json_object=True))
    assert text.startswith("{")
    assert not re.search(r"\s{17}", text)


def test_an_unguided_neighbour_is_not_touched(make_engine: Factory) -> None:
    engine = make_engine()
    free = SamplingParams(max_tokens=20, seed=4)
    engine.add_request("alone", PROMPT, free)
    alone = tokens_of(drain(engine)["alone"])
    engine.add_request("r", PROMPT, guided(regex="[ab]{20}"))
    engine.add_request("free", PROMPT, free)
    results = drain(engine)
    assert tokens_of(results["free"]) == alone
    assert re.fullmatch("[ab]{20}", text_of(results["r"]))


def test_a_resumed_answer_goes_on_in_its_grammar(make_engine: Factory) -> None:
    engine = make_engine()
    params = guided(7, regex="[a-d]{12}z")
    engine.add_request("whole", PROMPT, params)
    whole = drain(engine)["whole"]
    for cut in (1, 4, len(whole) - 1):
        engine.add_request("rest", PROMPT, params, resume_token_ids=tokens_of(whole[:cut]))
        assert tokens_of(drain(engine)["rest"]) == tokens_of(whole)[cut:]


def test_a_resumed_answer_that_broke_its_grammar_fails_alone(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, guided(regex="[ab]{9}"), resume_token_ids=engine.tokenizer.encode("quick"))
    (output,) = drain(engine)["r"]
    assert (output.finish_reason, bool(output.error)) == ("error", True)
    assert run(engine, guided(regex="[ab]{9}"))[1] == "stop"


def test_several_answers_follow_the_grammar_each_on_its_own(make_engine: Factory) -> None:
    engine = make_engine()
    wanted = StructuredOutputsParams(regex="[a-z]{10}")
    engine.add_request("r", PROMPT, SamplingParams(max_tokens=50, seed=1, n=3, structured_outputs=wanted))
    outputs = drain(engine)["r"]
    texts = {text_of([output for output in outputs if output.index == index]) for index in range(3)}
    assert len(texts) == 3
    assert all(re.fullmatch("[a-z]{10}", text) for text in texts)


@pytest.mark.parametrize(
    "stated",
    [
        {"json": "{nope"},
        {"json": "[1]"},
        {"json": {"type": "nonsense"}},
        {"json": {"type": "object", "unevaluatedProperties": False}},
        {"json": '{"a":' * 50_000},
        {"json": '{"properties":{"a":' * 300 + "{}" + "}}" * 300},
        {"json": nested(200_000)},
        {"json": {"const": "\ud800"}},
        {"json": {"const": object()}},
        {"regex": "\ud800"},
        {"choice": ["\ud800"]},
        {"regex": "a["},
        {"regex": "a" * 70_000},
    ],
)
def test_what_cannot_be_followed_is_refused_by_its_code(stated: Any, make_engine: Factory) -> None:
    engine = make_engine()
    with pytest.raises(InvalidStructure) as refusal:
        engine.add_request("r", PROMPT, guided(**stated))
    assert refusal.value.code == "invalid_structured_output"
    assert isinstance(refusal.value, InferenceError | ValueError)
    assert not engine.has_unfinished


MONEY = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^(?!^[-+.]*$)\d*\.?\d*$"}]}  # pydantic's Decimal
UNIQUE = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}  # and its set
SELF = {"$ref": "#/$defs/self"}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "#"}, r"only refers to itself.*\(at #\)"),
        ({"$defs": {"self": SELF}, "$ref": "#/$defs/self"}, r"only refers to itself.*\(at #\)"),
        ({"allOf": [{"$ref": "#"}]}, r"itself.*\(at #/allOf/0\)"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, r"itself.*\(at #/properties/a\)"),
        ({"$defs": {"x": {"$ref": "#/$defs/y"}, "y": {"$ref": "#/$defs/x"}}}, r"itself.*\(at #/\$defs/x\)"),
        ({"properties": {"a": {"oneOf": [{"$ref": "#/properties/a"}]}}}, r"itself.*\(at #/properties/a/oneOf/0\)"),
        ({"type": "object", "properties": {"a/b": {"$ref": "#"}}, "required": ["a/b"]}, r"\(at #/properties/a~1b\)"),
        ({"type": "array", "items": {"$ref": "#"}, "minItems": 1}, r"itself.*\(at #/items\)"),
        ({"type": "array", "prefixItems": [{}, {"$ref": "#"}], "minItems": 2}, r"itself.*\(at #/prefixItems/1\)"),
        ({"properties": {"price": MONEY}}, r"look-ahead.* \(at #/properties/price/anyOf/1\)"),
        ({"properties": {"a": {}, "tags": UNIQUE}}, r"uniqueItems.* \(at #/properties/tags\)"),
        ({"$defs": {"tags": UNIQUE}, "items": {"$ref": "#/$defs/tags"}}, r"uniqueItems.* \(at #/\$defs/tags\)"),
        ({"items": {"oneOf": [{}, {"type": "odd"}]}}, r"odd \(at #/items/oneOf/1\)"),
        ({"uniqueItems": True}, r"uniqueItems\"\]$"),
    ],
)
def test_what_is_wrong_with_a_schema_is_told_with_its_place(schema: Any, why: str, make_engine: Factory) -> None:
    with pytest.raises(InvalidStructure, match=f"(?s){why}"):
        make_engine().add_request("r", PROMPT, guided(json=schema))


TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "leaf": {"type": "null"}}, "required": ["leaf"]}


@pytest.mark.parametrize(
    "schema",
    [
        TREE,
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "array", "prefixItems": [{}], "items": {"$ref": "#"}, "minItems": 1, "maxItems": 2},
        {
            "$defs": {"n": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/n"}}, {"const": 1}]}},
            "$ref": "#/$defs/n",
        },
        {"$defs": {"a b": {"const": 1}}, "$ref": "#/$defs/a%20b"},
        {"type": "array", "items": {"enum": [1, 2]}, "uniqueItems": False, "maxItems": 2},
        {"anyOf": [{"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"const": None}]},
    ],
)
def test_what_has_an_end_may_refer_to_itself(schema: Any, make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("r", PROMPT, guided(json=schema))
    assert drain(engine)["r"][-1].finish_reason in ("stop", "length")


def test_a_long_chain_of_references_is_followed_in_time() -> None:
    """Each to the next, and the last to the first."""
    chain = {"$defs": {str(n): {"$ref": f"#/$defs/{(n + 1) % 3000}"} for n in range(3000)}}
    began = time.process_time()
    assert find_endless(chain) == "/$defs/0"
    chain["$defs"]["2999"] = {"const": 1}
    assert find_endless(chain) is None
    assert time.process_time() - began < 1.0


def test_the_search_for_a_fault_ends_in_time() -> None:
    asked: list[Any] = []
    wide = {"properties": {str(number): {} for number in range(1000)}}

    def faulty(part: dict[str, Any]) -> bool:
        asked.append(part)
        time.sleep(0.01)
        return False

    assert find_fault(wide, faulty, time.monotonic() + 0.05) == ""
    assert 1 <= len(asked) <= 6


def test_a_tokenizer_that_cannot_be_read_is_refused_by_the_same_code(make_engine: Factory) -> None:
    engine = make_engine()
    engine.tokenizer.backend_tokenizer.decoder = decoders.WordPiece()
    with pytest.raises(InvalidStructure, match="tokenizer"):
        engine.add_request("r", PROMPT, guided(regex="a"))


def test_a_grammar_that_grows_too_costly_fails_its_own_answer_and_spares_the_others(make_engine: Factory) -> None:
    engine = make_engine()
    engine.add_request("costly", PROMPT, guided(regex="(a?){500}a{500}"))
    engine.add_request("free", PROMPT, SamplingParams(max_tokens=20, seed=4))
    results = drain(engine)
    assert results["costly"][-1].finish_reason == "error"
    assert "expressions" in results["costly"][-1].error
    assert len(results["free"]) == 20
    assert engine.counters()["kv_blocks_used"] == 0
