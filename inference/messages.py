"""What crosses process boundaries: frozen dataclasses. ``encoding`` has their versioned JSON.

A ``Job`` goes from the web to a worker. ``Started``, ``Text`` (or ``Vectors``) and ``Ended`` come back as the
generation's token log, each with a sequence number: ``Started`` is 1, every later event is one
more than the one before, ``Ended`` is the last. A log without ``Ended`` is an answer still being
written. Times are seconds since the epoch, durations are seconds, counts are tokens.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant"]
EndReason = Literal["stop", "length", "cancelled", "interrupted", "failed"]
Kind = Literal["answer", "embedding"]  # of jobs, and of the workers that take them
WorkerState = Literal["starting", "downloading", "loading", "ready", "draining", "failed"]

ANSWER: Kind = "answer"
EMBEDDING: Kind = "embedding"
INTERACTIVE, BATCH = 0, 1  # bands: a batch job runs only when no interactive one waits
ANY_OBJECT = '{"type":"object"}'  # the schema of an answer that has to be a JSON object, whatever is in it


@dataclass(frozen=True, slots=True)
class ChatMessage:
    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw tokens; ``None`` leaves a choice to the model's own generation config.

    Meanings are those of ``engine.SamplingParams``. ``logprobs``: tell each token's chance and those of this many
    of the likeliest. ``json_schema``: the answer is JSON that matches this schema, which is JSON itself.
    """

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stop_token_ids: tuple[int, ...] = ()
    min_tokens: int = 0
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repetition_penalty: float | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    logprobs: int | None = None
    json_schema: str = ""

    @property
    def remembers(self) -> bool:
        """Whether the next token depends on the answer so far by more than the model: penalties, a schema."""
        return bool(self.presence_penalty or self.frequency_penalty or self.repetition_penalty or self.json_schema)


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to write, or texts to embed. ``id`` is the generation's id; submitting it twice is submitting it once.

    ``prompt_tokens`` is the web's estimate (the worker counts exactly); ``max_prompt_tokens`` is the
    plan's limit, 0 for the model's own. ``resume_text`` is the part of the answer that already stands
    in the database: the worker goes on after it, and publishes only what comes after it. The first
    ``operator_characters`` of the first message are the operator's own, so that tenants may share their keys
    and values; 0 shares nothing. A job too long for its model loses its oldest turns, or fails without ``trim``.

    Of ``kind`` embedding it has ``texts`` instead of messages; one too long for its model is read to where it
    ends, or the job fails without ``trim``.
    """

    id: str
    tenant: str
    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling
    prompt_tokens: int
    max_prompt_tokens: int = 0
    weight: float = 1.0
    band: int = INTERACTIVE
    conversation: str = ""
    resume_text: str = ""
    submitted_at: float = 0.0
    operator_characters: int = 0
    trim: bool = True
    kind: Kind = ANSWER
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """A job handed to a worker, with what an earlier worker already published of it (``log``).

    ``text`` and ``tokens`` are the published text and its length; ``token_ids`` are those of its tokens whose
    ids are known, all of them unless an engine wrote it that tells none (``Text``). ``counter`` is the service
    its tenant had received when it was claimed (``fairness``): of the jobs in a band, the one with the highest
    gives way first.
    """

    job: Job
    token_ids: tuple[int, ...] = ()
    next_seq: int = 1
    attempt: int = 1
    counter: float = 0.0
    text: str = ""
    tokens: int = 0
    log: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The engine took the job. ``dropped_messages`` oldest turns did not fit the context."""

    seq: int
    worker: str
    model: str
    model_revision: str
    prompt_tokens: int
    dropped_messages: int = 0
    seed: int = 0
    sampling: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Chance:
    """A token, as text and as bytes (which a server may not tell), and its log probability, above -infinity."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The token that was drawn, and the likeliest ones at its place."""

    drawn: Chance
    best: tuple[Chance, ...] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer. Concatenating ``text`` over the log gives the answer exactly; ``thought`` is what the model
    thought before that, and no part of it.

    ``without_ids`` more tokens are in it than ``token_ids`` names: an engine behind an API tells text alone,
    and how many tokens that was, or about how many. ``tokens``, those of thoughts among them, is what a tenant
    is charged for. ``choices``, where the job asks for ``logprobs``: one for each token of the answer, of which the
    text may lag behind.
    """

    seq: int
    text: str
    token_ids: tuple[int, ...] = ()
    without_ids: int = 0
    choices: tuple[Choice, ...] = ()
    thought: str = ""

    @property
    def tokens(self) -> int:
        return len(self.token_ids) + self.without_ids


@dataclass(frozen=True, slots=True)
class Vectors:
    """Embeddings of those of the job's texts that stand at ``places``, counted from 0.

    ``data`` is base64 of their float32 numbers, little endian, one vector after the other; each is of length 1.
    ``tokens`` were read for them, which is what a tenant is charged for.
    """

    seq: int
    places: tuple[int, ...]
    data: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The last event. ``error_*`` are set when ``reason`` is ``failed``; the message is safe to show, and
    ``error_param`` names the field of ``Sampling`` that is at fault, if one is.

    ``cached_tokens`` of the prompt were found in the prefix cache. ``prompt_tokens`` is set when the prompt's
    length was known at the end only; ``Started`` then had an estimate. ``approximate``: the engine never told
    how many tokens there were, and ``output_tokens`` counts the pieces that they came in.
    """

    seq: int
    reason: EndReason
    output_tokens: int = 0
    cached_tokens: int = 0
    error_code: str = ""
    error_message: str = ""
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0
    at: float = 0.0
    prompt_tokens: int = 0
    approximate: bool = False
    error_param: str = ""


Event = Started | Text | Vectors | Ended


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """A worker's heartbeat. ``progress`` runs from 0 to 1 while it loads; ``detail`` says what it does. It takes jobs
    of its ``kind`` alone. ``label``, ``license`` and ``parameters`` (how many) are for people, empty where unknown.

    What waits can be foretold from (``pace``): ``rate``, tokens a second of one answer when it is as full as it gets;
    ``answers``, of each that it writes the tokens so far and the most there can be; ``lengths`` of its last answers.
    """

    worker: str
    state: WorkerState
    model: str = ""
    model_revision: str = ""
    demo: bool = False
    context_length: int = 0
    free_slots: int = 0
    free_kv_tokens: int = 0
    progress: float = 0.0
    detail: str = ""
    counters: dict[str, float] = field(default_factory=dict)
    rate: float = 0.0
    answers: tuple[tuple[int, int], ...] = ()
    lengths: tuple[int, ...] = ()
    at: float = 0.0
    kind: Kind = ANSWER
    label: str = ""
    license: str = ""
    parameters: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """The answer to a heartbeat: which of the worker's jobs to stop, and which it has lost.

    ``forgotten``: the transport has lost its memory since the last one; it is to be told of every job again.
    """

    cancelled: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    forgotten: bool = False


@dataclass(frozen=True, slots=True)
class Position:
    """Place in line, 1 being next."""

    place: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A job in line, as far as others need to know it to tell how long they wait."""

    id: str
    tenant: str
    prompt_tokens: int
    max_tokens: int
    band: int = INTERACTIVE
    model: str = ""
    kind: Kind = ANSWER


@dataclass(frozen=True, slots=True)
class Stats:
    """``since`` is when the transport's memory began: what it was told before, it has forgotten (0: nothing).

    ``sticky_hits`` jobs went to the worker that had their conversation's keys and values, ``sticky_misses`` of
    those that could have did not.
    """

    workers: tuple[WorkerReport, ...] = ()
    waiting: int = 0
    running: int = 0
    since: float = 0.0
    sticky_hits: int = 0
    sticky_misses: int = 0
