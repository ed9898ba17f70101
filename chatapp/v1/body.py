"""The body of a chat completion as types: OpenAI's fields, and vLLM's for what OpenAI does not have."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

LARGEST_SEED = (1 << 63) - 1

Empty = Annotated[list[Any], Meta(max_length=0)]
Count = Annotated[int, Meta(ge=1, le=1 << 31)]
Longest = Annotated[int, Meta(ge=-1)]  # -1: as long as may be
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Token = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Bias = Annotated[float, Meta(ge=-100, le=100)]


class Part(Struct, tag="text", tag_field="type"):
    text: str


class Said(Struct, forbid_unknown_fields=True):
    """Thoughts and fields that say nothing are taken, so that a reply can be sent back as it came."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[Part], Meta(min_length=1)] | None = None
    name: str | None = None
    reasoning: object = None
    reasoning_content: object = None
    refusal: Literal[""] | None = None
    annotations: Empty | None = None
    audio: None = None
    function_call: None = None
    tool_calls: Empty | None = None


class TextFormat(Struct, tag="text"):
    pass


class ObjectFormat(Struct, tag="json_object"):
    pass


class Named(Struct):
    schema: dict[str, Any]


class SchemaFormat(Struct, tag="json_schema"):
    json_schema: Named


class StreamOptions(Struct, forbid_unknown_fields=True):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class Unsupported(Struct, kw_only=True):
    """Not offered yet. The values that change nothing are taken, so that a client that always sends them works."""

    tools: Empty | None = None
    tool_choice: Literal["none", "auto"] | None = None
    functions: Empty | None = None
    function_call: Literal["none", "auto"] | None = None
    modalities: Annotated[list[Literal["text"]], Meta(min_length=1, max_length=1)] | None = None
    reasoning_effort: None = None
    verbosity: None = None
    audio: None = None
    prediction: None = None
    web_search_options: None = None


class Ignored(Unsupported):
    """An answer is the same without them."""

    user: str | None = None
    metadata: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    parallel_tool_calls: bool | None = None


class Body(Ignored, kw_only=True, forbid_unknown_fields=True):
    model: Annotated[str, Meta(min_length=1, max_length=200)]
    messages: Annotated[list[Said], Meta(min_length=1)]
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    prompt_cache_key: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    max_tokens: Longest | None = None
    max_completion_tokens: Longest | None = None
    min_tokens: Annotated[int, Meta(ge=0)] | None = None
    stop: str | Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(max_length=4)] | None = None
    stop_token_ids: Annotated[list[Token], Meta(max_length=64)] | None = None
    seed: Annotated[int, Meta(ge=-LARGEST_SEED - 1, le=LARGEST_SEED)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=100)] | None = None
    logit_bias: Annotated[dict[Token, Bias], Meta(max_length=1024)] | None = None  # as many as the engine takes
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    response_format: TextFormat | ObjectFormat | SchemaFormat | None = None
