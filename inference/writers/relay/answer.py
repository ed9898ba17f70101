"""One answer, whatever its servers do: asked again, gone on with elsewhere, ended with what there is."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import aiohttp
import orjson

from ...errors import (
    InvalidMessages,
    InvalidSampling,
    PromptTooLong,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from ...messages import Claim, Ended, EndReason, Started
from ..text import find_lone_end
from ..truncation import BYTES_A_TOKEN
from ..turns import FORMS, is_about_turns
from .outbox import Outbox
from .request import Limits, Request, Totals
from .request_body import PLAIN, build_body, choose_seed, estimate_prompt, fit_answer, fit_turns, tighten
from .responses import check_status, read_response
from .server import Pool, Server
from .stream_chunks import Piece, Usage, cut_choices
from .sweep import Sweep
from .words import Words

logger = logging.getLogger(__name__)

ATTEMPTS = 4  # servers asked for one answer
UNFIT_SECONDS = 1.0  # until a job is handed back that the free servers would not do
PAUSE_SECONDS = 0.2  # before the second of them; doubled for each after it
REASONS: dict[str, EndReason] = {"stop": "stop", "length": "length", "eos_token": "stop", "stop_sequence": "stop"}
LEAST_LENGTH = 256  # tokens' worth of text that any answer may have
BROKEN = ("abort", "error")  # reasons of a server that gave up
WITHHELD = "content_filter"
MESSAGES = {
    "upstream_error": "The model server failed while writing this answer. Try again in a moment.",
    "upstream_rejected": "The model server does not accept this message.",
    "upstream_withheld": "The model server withheld the rest of this answer.",
    "prompt_too_long": "Too long for this model. Shorten it and send it again.",
    "invalid_sampling": "This model's server cannot follow a setting of this request.",
}


class Answer:
    """``write`` asks the pool's servers until the answer has an end, which is in the outbox then."""

    def __init__(self, claim: Claim, outbox: Outbox, pool: Pool, limits: Limits, totals: Totals) -> None:
        self._job, self._outbox, self._pool, self._limits, self._totals = claim.job, outbox, pool, limits, totals
        self._words = Words(claim, outbox)
        outbox.total = claim.tokens
        self._usage: Usage | None = None
        self._earlier = claim.tokens  # tokens that other requests wrote
        self._sent = 0  # of those, in the text that the server was sent
        self._forms = list(FORMS)  # of the conversation, those that were not refused
        self._dropped = -1  # not yet estimated
        self._most_tokens = 0
        self._begun, self._first = time.monotonic(), 0.0
        self._is_started = False
        self._most_size = BYTES_A_TOKEN * max(LEAST_LENGTH, self._job.sampling.max_tokens)

    async def write(self, session: aiohttp.ClientSession, sweep: Sweep) -> None:
        tried: set[str] = set()
        unavailable, failures = True, 0
        if param := self._pool.unheard(self._job.sampling):
            return self._end("failed", InvalidSampling.code, param)
        while failures < ATTEMPTS:
            server = self._pool.choose(self._job.sampling, tried, continuing=self._words.length > 0)
            if server is None and self._pool.free and not self._words.length:
                await asyncio.sleep(UNFIT_SECONDS)  # it would be claimed again at once
            if server is None or (self._words.length and self._job.sampling.json_schema):
                break  # a server would begin the schema anew in the middle of the answer
            tried.add(server.url)
            try:
                if await self._try(session, sweep, server):
                    return
            except UpstreamError as error:
                logger.warning("upstream %s failed job %s: %s", server.url, self._job.id, error)
                self._totals.failed_requests += 1
                unavailable &= isinstance(error, UpstreamUnavailable)
                failures += 1
                await asyncio.sleep(0 if len(tried) < len(self._pool.servers) else PAUSE_SECONDS * 2**failures)
        self._give_up(unavailable)

    def ended(self, reason: EndReason, code: str = "", param: str = "") -> Ended:
        """The end of the answer as far as it is written."""
        now, usage = time.monotonic(), self._usage
        first = self._first or now
        return Ended(
            0,
            reason,
            output_tokens=self._outbox.total,
            cached_tokens=usage.cached_tokens if usage else 0,
            error_code=code,
            error_message=MESSAGES.get(code, ""),
            error_param=param,
            prefill_seconds=first - self._begun,
            decode_seconds=now - first,
            prompt_tokens=max(0, usage.prompt_tokens - self._sent) if usage else 0,
            approximate=usage is None,
        )

    def _give_up(self, unavailable: bool) -> None:
        """No server is left to ask. What none has taken waits in the line for one that does."""
        if unavailable and not self._words.length:
            self._outbox.tell(returned=True)
        elif self._words.length:
            self._end("interrupted")
        else:
            self._end("failed", UpstreamError.code)

    def _end(self, reason: EndReason, code: str = "", param: str = "") -> None:
        self._outbox.tell(ended=self.ended(reason, code, param))

    async def _try(self, session: aiohttp.ClientSession, sweep: Sweep, server: Server) -> bool:
        """One request. True when the answer has its end; False to ask again, with less. Raises ``UpstreamError``."""
        server.breaker.begin()
        server.in_flight += 1
        self._totals.requests += 1
        try:
            await self._ask(session, sweep, server)
        except PromptTooLong:
            server.breaker.succeeded()
            return not self._tighten()
        except UpstreamRejected as error:
            server.breaker.succeeded()
            if self._reshape(error):
                return False
            logger.warning("upstream %s rejected job %s: %s", server.url, self._job.id, error)
            self._reject(error)
        except UpstreamError:
            if time.monotonic() >= server.paused_until:  # a server that says it is busy is well
                server.breaker.failed()
            raise
        else:
            server.breaker.succeeded()
        finally:
            server.breaker.abandoned()
            server.in_flight -= 1
        return True

    def _tighten(self) -> bool:
        """Whether there is something to leave out. What is written and fits nowhere is as long as it gets."""
        try:
            self._dropped, self._most_tokens = tighten(self._job, self._dropped, self._most_tokens)
        except PromptTooLong as error:
            written = self._words.length or self._job.resume_text
            self._end("length") if written else self._end("failed", error.code)
            return False
        return True

    def _reshape(self, error: UpstreamRejected) -> bool:
        """Whether the server, whose template may be strict, is to be asked with the turns in another form."""
        if not is_about_turns(str(error)):
            return False
        refused = self._forms.pop(0)(self._job.messages)
        self._forms = [form for form in self._forms if form(self._job.messages) != refused]
        return bool(self._forms)

    def _reject(self, error: UpstreamRejected) -> None:
        """Whoever has sent turns that no template takes is told its words."""
        if is_about_turns(str(error)):
            said = f"The model's chat template refuses these messages: {error}"
            self._outbox.tell(ended=replace(self.ended("failed", InvalidMessages.code), error_message=said))
        else:
            self._end("failed", error.code)

    async def _ask(self, session: aiohttp.ClientSession, sweep: Sweep, server: Server) -> None:
        body, self._earlier, self._usage = self._body(server), self._outbox.total, None
        self._sent = self._words.tokens
        self._begin(server)
        request = Request(server, asyncio.timeout(self._limits.first_token))
        reached = None
        try:
            async with (
                request.timer,
                session.post(server.url + "/chat/completions", data=body, allow_redirects=False) as response,
            ):
                reached = response
                await check_status(response, server)
                self._start(server)
                await read_response(response, sweep, partial(self._hear, request), partial(self._hear_texts, request))
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise UpstreamUnavailable(f"it cannot be reached: {error}") from None
        except TimeoutError:
            if not request.finish:
                raise UpstreamError("it was silent for too long") from None
        except UpstreamError:
            if not request.finish:  # what follows the end cannot spoil it
                raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if not request.finish:
                where = "broke off" if reached else "did not answer"
                raise UpstreamError(f"it {where}: {type(error).__name__}: {error}") from None
        self._finish(request)

    def _begin(self, server: Server) -> None:
        goes_on = bool(self._words.length or self._job.resume_text) and self._pool.continues(server) != "none"
        opens = not server.tells_thoughts and not self._job.sampling.json_schema
        self._words.begin(server.opened if opens else None, goes_on=goes_on)

    def _hear(self, request: Request, pieces: Iterable[Piece]) -> bool:
        """Take what the server says; True when that is enough. Raises ``UpstreamError`` when it gave up."""
        for piece in pieces:
            if piece.text or piece.thought:
                self._saw_token(request)
            request.server.tells_thoughts |= bool(piece.thought)
            request.finish = self._take(piece) or request.finish or ("stop" if piece.done else "")
            if self._is_too_long(request):
                return True
            if piece.finish or piece.done:
                request.wait_for_last_words()
        return False

    def _hear_texts(self, request: Request, texts: list[str]) -> bool:
        """As ``_hear``, of pieces that are a token's text each and nothing else."""
        self._saw_token(request)
        self._totals.output_tokens += len(texts)
        self._words.take_text("".join(texts), len(texts))
        return self._is_too_long(request)

    def _is_too_long(self, request: Request) -> bool:
        if self._words.size <= self._most_size:
            return False
        request.finish = "length"  # a server that does not count would write for ever
        return True

    def _body(self, server: Server) -> bytes:
        job, so_far = self._job, self._job.resume_text + self._words.text
        context = self._limits.context or server.context_length
        if self._dropped < 0:
            self._dropped = fit_turns(job, context, so_far)
            self._most_tokens = fit_answer(job, context)
        body = build_body(
            job,
            model=server.model or self._pool.model,
            owner=server.owner,
            form=self._forms[0],
            so_far=so_far,
            dropped=self._dropped,
            written=self._outbox.total,
            most=self._most_tokens,
            continuation=self._pool.continues(server),
        )
        self._totals.continued_answers += self._words.length > 0
        return orjson.dumps(body)

    def _start(self, server: Server) -> None:
        """A server has taken it: the answer is being written. Told once."""
        if self._is_started:
            return
        self._is_started = True
        wanted = self._job.sampling
        sampling = {name: value for name in PLAIN if (value := getattr(wanted, name)) is not None}
        if wanted.min_tokens:
            sampling["min_tokens"] = wanted.min_tokens
        self._outbox.tell(
            started=Started(
                0,
                worker="",
                model="",
                model_revision=server.revision,
                prompt_tokens=estimate_prompt(self._job, self._dropped),
                dropped_messages=self._dropped,
                seed=choose_seed(self._job),
                sampling=sampling | {"max_tokens": self._most_tokens},
            )
        )

    def _saw_token(self, request: Request) -> None:
        request.wait(self._limits.token)
        if not self._first:
            self._first = time.monotonic()
            seconds = self._first - request.began
            request.server.saw_first_token(seconds)
            self._totals.first_tokens += 1
            self._totals.first_token_seconds += seconds

    def _take(self, piece: Piece) -> str:
        """Pass a piece on; the reason when it is the last. Raises ``UpstreamError`` when the server gave up."""
        choices = cut_choices(piece.choices, self._job.sampling.logprobs) if piece.choices else ()
        self._totals.output_tokens += piece.tokens
        self._words.take(piece.text, piece.thought, piece.tokens, choices)
        self._usage = piece.usage or self._usage
        if piece.finish in BROKEN:
            raise UpstreamError(f"it gave up: {piece.finish}")
        return piece.finish

    def _finish(self, request: Request) -> None:
        """The stream is over. Raises ``UpstreamError`` when it had no end."""
        finish = request.finish
        if not finish:
            raise UpstreamError("it broke off")
        self._words.finish(is_whole=REASONS.get(finish, "stop") == "stop")
        if not self._words.told_thought and (family := find_lone_end(self._words.text)):
            request.server.opened = family  # from the next answer on
        usage = self._usage
        if usage and usage.output_tokens and (more := self._earlier + usage.output_tokens - self._outbox.total) > 0:
            self._totals.output_tokens += more
            self._outbox.put("", more)
        if finish == WITHHELD:
            self._end("failed", "upstream_withheld")
        else:
            self._end(REASONS.get(finish, "stop"))
