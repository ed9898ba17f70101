"""Errors of the inference application.

InferenceError
├── TransportError
│   ├── TransportUnavailable   the transport cannot be reached; nothing was accepted
│   ├── UnknownGeneration      no job and no log under this id (never submitted, or past its retention)
│   └── LogExpired             the log no longer reaches back to the sequence number asked for
├── ModelError
│   ├── ModelNotFound          neither a local folder nor a reachable hub name
│   └── UnsupportedModel       an architecture, weight format or attention the engine refuses
├── InvalidMessages            the model's chat template refuses these turns, in whatever form
├── PromptTooLong              the prompt alone does not fit the model's context or the KV cache
├── InvalidSampling            a setting that this model or server cannot follow; ``param`` names it
│   └── InvalidStructure       a schema, regular expression or choice that answers cannot be held to
├── UpstreamError              a model server failed: away, broken off, or what it sent is no answer
│   ├── UpstreamUnavailable    it did not take the request, which it therefore cannot have begun
│   └── UpstreamRejected       it finds fault with the request, as any other server would
└── EngineError                a step failed; the sequences in it were failed, the engine goes on
    └── OutOfMemory            not even one sequence by itself had enough memory for its step

``code`` is stable and crosses process boundaries in ``messages.Ended.error_code``.
"""


class InferenceError(Exception):
    """Base of the tree. ``code`` is a stable identifier for programs."""

    code = "inference_error"


class TransportError(InferenceError):
    code = "transport_error"


class TransportUnavailable(TransportError):
    code = "transport_unavailable"


class UnknownGeneration(TransportError):
    code = "unknown_generation"


class LogExpired(TransportError):
    code = "log_expired"


class ModelError(InferenceError):
    code = "model_error"


class ModelNotFound(ModelError):
    code = "model_not_found"


class UnsupportedModel(ModelError):
    code = "unsupported_model"


class InvalidMessages(InferenceError):
    code = "invalid_messages"


class PromptTooLong(InferenceError):
    code = "prompt_too_long"


class InvalidSampling(InferenceError, ValueError):
    """``param`` is a field of ``messages.Sampling``."""

    code = "invalid_sampling"

    def __init__(self, message: str, param: str = "") -> None:
        super().__init__(message)
        self.param = param


class InvalidStructure(InvalidSampling):
    code = "invalid_structured_output"

    def __init__(self, message: str) -> None:
        super().__init__(message, "json_schema")


class UpstreamError(InferenceError):
    code = "upstream_error"


class UpstreamUnavailable(UpstreamError):
    code = "upstream_unavailable"


class UpstreamRejected(UpstreamError):
    code = "upstream_rejected"


class EngineError(InferenceError):
    code = "engine_error"


class OutOfMemory(EngineError):
    code = "out_of_memory"
