"""Errors a person or a program may meet. Raised anywhere, converted at the edge only.

ChatappError                 code, HTTP status, a safe message, retry_after and resets_at where they help
├── BadRequest         400   bad_request; with the fields that are wrong
│   ├── MethodNotAllowed 405 method_not_allowed
│   ├── MessageTooLong       message_too_long
│   └── NothingToContinue    nothing_to_continue
├── Forbidden          403   forbidden: you are a member, but not allowed this
│   └── SecondFactorRequired second_factor_required: by the workspace, and you have none
├── NotFound           404   not_found: no such thing, or not yours; the two are not told apart
│   └── ModelNotFound        model_not_found
├── AlreadyAnswering   409   already_answering
├── Refused            429   refused for now; always says when to come back
│   ├── QuotaExceeded        quota_exceeded
│   ├── RateLimited          rate_limited
│   ├── TooManyAnswers       too_many_answers
│   └── Overloaded           overloaded: a new message would wait longer than the plan lets it
└── Unavailable        503   unavailable
    └── NoWorker             no_worker
        └── NoEmbedder       no_embedder: nothing here embeds texts, or not at the moment

REST and the WebSocket send the same JSON, ``as_json``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any


class ChatappError(Exception):
    """Base of the tree.

    ``retry_after`` is in seconds, ``resets_at`` an aware time, ``fields`` maps a field's name to what
    is wrong with it.
    """

    code = "server_error"
    status = 500
    message = "Something went wrong on our side. Nothing you wrote is lost; please try again."

    def __init__(
        self,
        message: str = "",
        *,
        retry_after: int | None = None,
        resets_at: datetime | None = None,
        fields: dict[str, list[str]] | None = None,
    ) -> None:
        self.message = message or self.message
        self.retry_after = retry_after
        self.resets_at = resets_at
        self.fields = fields
        super().__init__(self.message)

    def as_json(self) -> dict[str, Any]:
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "retry_after": self.retry_after,
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
        }
        if self.fields:
            error["fields"] = self.fields
        return error


class BadRequest(ChatappError):
    code = "bad_request"
    status = 400
    message = "That request is not valid."


class MethodNotAllowed(BadRequest):
    code = "method_not_allowed"
    status = 405
    message = "That cannot be done here."


class MessageTooLong(BadRequest):
    code = "message_too_long"


class NothingToContinue(BadRequest):
    code = "nothing_to_continue"
    message = "This answer is complete; there is nothing to continue."


class Forbidden(ChatappError):
    code = "forbidden"
    status = 403
    message = "Your role in this workspace does not allow that."


class SecondFactorRequired(Forbidden):
    code = "second_factor_required"
    message = "This workspace asks for a second factor. Set one up in your settings, then come back."


class NotFound(ChatappError):
    code = "not_found"
    status = 404
    message = "There is nothing here, or it is not yours to see."


class ModelNotFound(NotFound):
    code = "model_not_found"
    message = "That model is not served here."


class AlreadyAnswering(ChatappError):
    code = "already_answering"
    status = 409
    message = "An answer is still being written here. Stop it first, or wait for it to end."


class Refused(ChatappError):
    code = "refused"
    status = 429


class QuotaExceeded(Refused):
    code = "quota_exceeded"


class RateLimited(Refused):
    code = "rate_limited"


class TooManyAnswers(Refused):
    code = "too_many_answers"


class Overloaded(Refused):
    code = "overloaded"


class Unavailable(ChatappError):
    code = "unavailable"
    status = 503


class NoWorker(Unavailable):
    code = "no_worker"
    message = "No model is running at the moment."


class NoEmbedder(NoWorker):
    code = "no_embedder"
    message = "No model that embeds texts is running here."
