"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

``code`` is ours and the same as in REST and over the socket; ``type`` is OpenAI's word for the kind. To the tree of
``common/errors.py`` this door adds:

BadRequest
└── InvalidCall            a field of the call is wrong, unsupported or unknown; ``param`` names it
    ├── NoSuchAddress 404
    └── WrongMethod   405
InvalidKey            401  no key, one that is not known, or one that was revoked; the three are not told apart
"""

from __future__ import annotations

from typing import Any

import structlog
from django.core.exceptions import BadRequest as DjangosBadRequest
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, HttpResponse

from chatapp.common.errors import BadRequest, ChatappError, Unavailable
from chatapp.common.json import json_response
from chatapp.common.text import one_line
from chatapp.queue.outages import as_unavailable
from inference.messages import Ended

logger = structlog.get_logger(__name__)

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
TYPES_BY_CODE = {"quota_exceeded": "insufficient_quota"}
FIRST_SERVER_ERROR = 500
FUTILE = ("quota_exceeded",)  # trying again within the minute cannot help
DRAFT = "; your draft is kept"  # what the page promises, and a program has no use for
TOO_LONG = ("message_too_long", "prompt_too_long")  # one to the caller, whoever found out
REFUSED = (
    "invalid_sampling",
    "invalid_structured_output",
    "invalid_messages",
    "upstream_rejected",
)  # by the model, and for good
PARAMS = {"json_schema": "response_format"}  # where a field of ours is called otherwise
PARAMS_BY_CODE = {"invalid_messages": "messages", "model_not_found": "model"}
MOST_SHOWN = 80  # characters of an address
MESSAGES = {"no_worker": "No model is running at the moment. Please try again shortly."}


class InvalidCall(BadRequest):
    """``code`` is ``invalid_value``, ``missing_parameter``, ``unknown_parameter``, ``unsupported_parameter``, or the
    engine's own for what only it can tell.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


class WrongMethod(InvalidCall):
    def __init__(self, allowed: str) -> None:
        super().__init__(f"Use {allowed} here.", code="method_not_allowed", status=405)
        self.allowed = allowed


class InvalidKey(ChatappError):
    code = "invalid_api_key"
    status = 401
    message = "This needs a valid API key, as in “Authorization: Bearer sk-…”. Your administrator can make one."


class NoSuchAddress(InvalidCall):
    def __init__(self, request: HttpRequest) -> None:
        address = one_line(request.path, MOST_SHOWN)
        message = f"There is nothing at {address}. Models are at /v1/models, chat at /v1/chat/completions."
        super().__init__(message, code="unknown_url", status=404)


def as_chatapp_error(request: HttpRequest, error: Exception) -> ChatappError:
    """Whatever was raised while a call was looked at."""
    match error:
        case ChatappError():
            return error
        case Http404():
            return NoSuchAddress(request)
        case RequestDataTooBig():
            return InvalidCall("The body is too large.", code="request_too_large", status=413)
        case SuspiciousOperation() | DjangosBadRequest():
            return InvalidCall("This is no valid request; its Host may not be one of ours.", code="bad_request")
    if as_unavailable(error):
        logger.warning("call.unavailable", error=str(error))
        return Unavailable("The service cannot be reached at the moment. Please try again.", retry_after=5)
    logger.error("call.failed", exc_info=error)
    return ChatappError("Something went wrong on our side. Please try again.")


def error_json(error: ChatappError) -> dict[str, Any]:
    """The body of a refused call, and of an error in the middle of a stream."""
    message = MESSAGES.get(error.code) or error.message.replace(DRAFT, "")
    kind = "server_error" if error.status >= FIRST_SERVER_ERROR else TYPES.get(error.status, "invalid_request_error")
    kind = TYPES_BY_CODE.get(error.code, kind)
    param, code = getattr(error, "param", PARAMS_BY_CODE.get(error.code)), error.code
    if code in TOO_LONG:
        param, code = "messages", "context_length_exceeded"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: ChatappError) -> HttpResponse:
    response = json_response(error_json(error), error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidKey):
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, WrongMethod):
        response.headers["Allow"] = error.allowed
    if error.code in FUTILE:
        response.headers["x-should-retry"] = "false"  # the official clients heed it
    return response


def failure(ended: Ended) -> ChatappError | None:
    """Why an answer has no proper end; None when it has one."""
    if ended.reason in ("stop", "length"):
        return None
    if ended.error_code in TOO_LONG + REFUSED:
        param = PARAMS.get(ended.error_param, ended.error_param) or PARAMS_BY_CODE.get(ended.error_code)
        return InvalidCall(ended.error_message, param, ended.error_code)
    message = ended.error_message or "This answer was ended before it was complete. Please try again."
    error = Unavailable(message, retry_after=5)
    error.code = ended.error_code or ended.reason
    return error
