"""Errors in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``.

``code`` is ours and the same as in REST and over the socket; ``type`` is OpenAI's word for the kind. To the tree of
``common/errors.py`` this door adds:

BadRequest
└── InvalidCall            a field of the call is wrong, unsupported or unknown; ``param`` names it
InvalidKey            401  no key, one that is not known, or one that was revoked; the three are not told apart
"""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from chatapp.common.errors import BadRequest, ChatappError, Unavailable
from chatapp.common.json import json_response
from inference.messages import Ended

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
PARAMS_BY_CODE = {"invalid_messages": "messages"}
MESSAGES = {"no_worker": "No model is running at the moment. Please try again shortly."}


class InvalidCall(BadRequest):
    """``code`` is ``invalid_value``, ``missing_parameter``, ``unknown_parameter``, ``unsupported_parameter``, or the
    engine's own for what only it can tell.
    """

    def __init__(self, message: str, param: str | None = None, code: str = "invalid_value", status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


class InvalidKey(ChatappError):
    code = "invalid_api_key"
    status = 401
    message = "This needs a valid API key, as in “Authorization: Bearer sk-…”. Your administrator can make one."


def error_json(error: ChatappError) -> dict[str, Any]:
    """The body of a refused call, and of an error in the middle of a stream."""
    message = MESSAGES.get(error.code) or error.message.replace(DRAFT, "")
    kind = "server_error" if error.status >= FIRST_SERVER_ERROR else TYPES.get(error.status, "invalid_request_error")
    kind = TYPES_BY_CODE.get(error.code, kind)
    param, code = getattr(error, "param", None), error.code
    if code in TOO_LONG:
        param, code = "messages", "context_length_exceeded"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def error_response(error: ChatappError) -> HttpResponse:
    response = json_response(error_json(error), error.status)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    if isinstance(error, InvalidKey):
        response.headers["WWW-Authenticate"] = "Bearer"
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
