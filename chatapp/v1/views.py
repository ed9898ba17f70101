"""The addresses below /v1/: who calls, what they ask for, and the answer in OpenAI's shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

from accounts.models import Plan, Tenant
from accounts.quotas import request_window
from accounts.scoping import tenant_scope
from chatapp.chat.api_calls import start_call
from chatapp.common.errors import ChatappError, ModelNotFound
from chatapp.common.json import json_response
from chatapp.common.text import one_line
from chatapp.queue.available_models import models_json
from chatapp.queue.transport import get_transport
from inference.messages import Ended, Event, Job, Text

from .answers import Answers, in_thread
from .errors import MOST_SHOWN, InvalidCall, NoSuchAddress, WrongMethod, as_chatapp_error, error_response, failure
from .keys import Caller, authenticate
from .schemas import ChatCall, parse_call
from .sse import Reply, stream

logger = structlog.get_logger(__name__)

View = Callable[..., Awaitable[HttpResponseBase]]
STARTED = int(time.time())


@dataclass(frozen=True, slots=True)
class Begun:
    """A call that was accepted: what it asks for, its jobs, its caller's key, and what its reply says of the rate."""

    call: ChatCall
    jobs: tuple[Job, ...]
    key: UUID
    headers: dict[str, str]

    def follow(self) -> Answers:
        return Answers(self.jobs, Caller(self.key, self.jobs[0].model))


def door(method: str) -> Callable[[View], Any]:
    """For ``method`` alone; whatever a view raises becomes an error of OpenAI's shape."""

    def decorate(view: View) -> Any:
        @wraps(view)
        async def wrapped(request: HttpRequest, **names: str) -> HttpResponseBase:
            try:
                if request.method != method:
                    raise WrongMethod(method)
                return await view(request, **names)
            except Exception as error:
                return error_response(as_chatapp_error(request, error))

        return csrf_exempt(wrapped)  # a key is no cookie: no browser sends it unasked

    return decorate


async def unknown(request: HttpRequest, rest: str = "") -> HttpResponse:
    return error_response(NoSuchAddress(request))


@door("GET")
async def models(request: HttpRequest) -> HttpResponse:
    names = await in_thread(_served)(request.headers.get("Authorization", ""))
    return json_response({"object": "list", "data": [_model_json(name) for name in names]})


@door("GET")
async def model(request: HttpRequest, name: str) -> HttpResponse:
    if name not in await in_thread(_served)(request.headers.get("Authorization", "")):
        raise ModelNotFound
    return json_response(_model_json(name))


def _served(authorization: str) -> list[str]:
    allowed = authenticate(authorization).tenant.allowed_models
    return [model["name"] for model in models_json(get_transport().stats().workers, allowed)]


def _model_json(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": STARTED, "owned_by": settings.CHATAPP_BRAND}


@door("POST")
async def chat_completions(request: HttpRequest) -> HttpResponseBase:
    begun = await _begin(request)
    answers = begun.follow()
    response: HttpResponse | StreamingHttpResponse
    response = await (_stream(answers, begun.call) if begun.call.stream else _whole(answers))
    for name, value in begun.headers.items():
        response.headers[name] = value
    return response


async def _begin(request: HttpRequest) -> Begun:
    """A caller that leaves meanwhile cannot stop the thread that starts them; so the answers are stopped."""
    starting = asyncio.ensure_future(in_thread(_start)(request.headers.get("Authorization", ""), request))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(_leave)
        raise


def _start(authorization: str, request: HttpRequest) -> Begun:
    key = authenticate(authorization)
    plan = key.tenant.plan
    call = _parse(request, plan)
    with tenant_scope(key.tenant_id):
        jobs = start_call(
            key=key,
            messages=call.messages,
            sampling=call.sampling,
            model=call.model,
            answers=call.answers,
            cache_key=call.cache_key,
        )
    return Begun(call, jobs, key.pk, _rate_headers(key.tenant))


def _parse(request: HttpRequest, plan: Plan) -> ChatCall:
    """JSON whatever it calls itself; where it is none, what it calls itself may be why."""
    try:
        return parse_call(request.body, most_tokens=plan.max_output_tokens, most_answers=plan.concurrent_answers)
    except InvalidCall as error:
        if error.code == "invalid_json":
            error.message += _how_it_came(request)
        raise


def _how_it_came(request: HttpRequest) -> str:
    packed, kind = request.headers.get("Content-Encoding", "identity"), request.content_type
    if packed != "identity":
        return f" It came with Content-Encoding {one_line(packed, MOST_SHOWN)}; send it as it is."
    if kind and not kind.endswith("json"):
        return f" It came as {one_line(kind, MOST_SHOWN)}; send application/json."
    return ""


def _leave(starting: asyncio.Future[Begun]) -> None:
    if not starting.cancelled() and starting.exception() is None:
        starting.result().follow().leave()


def _rate_headers(tenant: Tenant) -> dict[str, str]:
    """How much of the plan's requests a minute is left, where it has such a limit. The call is accepted by now: what
    cannot be told does not refuse it.
    """
    try:
        window = request_window(tenant)
    except Exception:
        logger.warning("call.rate_not_told", exc_info=True)
        return {}
    if window is None:
        return {}
    return {
        "x-ratelimit-limit-requests": str(window.limit),
        "x-ratelimit-remaining-requests": str(window.remaining),
        "x-ratelimit-reset-requests": f"{window.reset_seconds}s",
    }


async def _whole(answers: Answers) -> HttpResponse:
    logs: list[list[Text]] = [[] for _ in answers.all]
    try:
        async for index, batch in answers.batches():
            logs[index] += [event for event in batch if isinstance(event, Text)]
            if error := _failure(batch):
                await answers.all[index].settle()
                raise error
        await answers.settle()
    finally:
        answers.leave()
    return json_response(Reply(answers).whole(logs))


async def _stream(answers: Answers, call: ChatCall) -> StreamingHttpResponse:
    """Waits a moment for the first event, so that what fails at once fails with a status."""
    batches = answers.batches()
    try:
        index, first = await anext(batches)
        if error := _failure(first):
            await answers.all[index].settle()
            raise error
    except BaseException:
        answers.leave()
        raise
    return EventStream(answers, stream(answers, call, (index, first), batches))


def _failure(batch: Sequence[Event]) -> ChatappError | None:
    """Why the answer ends with this batch without a proper end; None when it does not."""
    return failure(batch[-1]) if batch and isinstance(batch[-1], Ended) else None


class EventStream(StreamingHttpResponse):
    """Closed before its first byte was asked for, the answers behind it are left as well."""

    def __init__(self, answers: Answers, content: Any) -> None:
        headers = {"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}
        super().__init__(content, content_type="text/event-stream", headers=headers)
        self._answers = answers

    def close(self) -> None:
        super().close()
        self._answers.leave()
