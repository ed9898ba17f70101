"""The servers of a model: which of them are well, and which one to ask next."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from ...errors import UpstreamError
from ...messages import Sampling
from ..text import Family
from .bodies import read_bounded
from .breaker import Breaker
from .request_body import BY_OWNER, Continuation, unheard
from .templates import ask_opened

logger = logging.getLogger(__name__)

CHECK_SECONDS = 5.0
CHECK_TIMEOUT = 3.0
MISSES = 2  # checks in a row without an answer before a server counts as gone
SMOOTHING = 0.2  # of the moving average of times to a first token
LONGEST_LISTING = 2**20  # bytes
NO_LISTING = (404, 405, 501)


@dataclass(slots=True)
class Server:
    """``url`` ends with the API's prefix. ``in_flight`` counts requests, ``first_token`` is seconds, smoothed.

    ``opened``: its template begins a thought, whose end comes in the text; unless it ``tells_thoughts`` apart itself.
    """

    url: str
    breaker: Breaker
    in_flight: int = 0
    first_token: float = 0.0
    paused_until: float = 0.0  # it said it was busy
    misses: int = MISSES  # not yet seen
    context_length: int = 0
    revision: str = ""
    model: str = ""
    owner: str = ""
    asked: str = ""  # the model of which ``opened`` was asked
    opened: Family | None = None
    tells_thoughts: bool = False

    @property
    def is_up(self) -> bool:
        return self.misses < MISSES and (self.breaker.is_closed or self.breaker.allows)

    @property
    def is_free(self) -> bool:
        return self.is_up and self.breaker.allows and time.monotonic() >= self.paused_until

    def saw_first_token(self, seconds: float) -> None:
        self.first_token += SMOOTHING * (seconds - self.first_token) if self.first_token else seconds


@dataclass(slots=True)
class Pool:
    """``continuation`` is the operator's word, ``auto`` goes by what a server says of itself."""

    servers: Sequence[Server]
    model: str
    continuation: str = "auto"
    _warned: set[str] = field(default_factory=set)

    @property
    def free(self) -> list[Server]:
        return [server for server in self.servers if server.is_free]

    @property
    def up(self) -> list[Server]:
        return [server for server in self.servers if server.is_up]

    def choose(self, wanted: Sampling, avoid: Collection[str] = (), *, continuing: bool = False) -> Server | None:
        """The least busy free server, of equals the quickest; one of ``avoid`` only where there is no other.

        Never one that would not follow what is ``wanted``.
        """
        able = [server for server in self.free if not unheard(server.owner, wanted)]
        free = [server for server in able if not continuing or self.continues(server) != "none"]
        fresh = [server for server in free if server.url not in avoid]
        return min(fresh or free, key=lambda server: (server.in_flight, server.first_token), default=None)

    def unheard(self, wanted: Sampling) -> str:
        """A setting that none of the servers would follow; empty while there is one that follows all."""
        settings = [unheard(server.owner, wanted) for server in self.servers]  # one that is away comes back
        return settings[0] if settings and all(settings) else ""

    def continues(self, server: Server) -> Continuation:
        """How this server goes on with a text."""
        if self.continuation == "auto":
            return BY_OWNER.get(server.owner, "none")
        return self.continuation  # type: ignore[return-value]

    async def watch(self, session: aiohttp.ClientSession) -> None:
        """Check every server now and then, until cancelled."""
        while True:
            await self.check(session)
            await asyncio.sleep(CHECK_SECONDS)

    async def check(self, session: aiohttp.ClientSession) -> None:
        await asyncio.gather(*(self._check(session, server) for server in self.servers))

    async def _check(self, session: aiohttp.ClientSession, server: Server) -> None:
        """Ask for its models; where there is no such list, for its health."""
        timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT)
        well = False
        try:
            async with session.get(server.url + "/models", timeout=timeout, allow_redirects=False) as response:
                well = response.ok and response.status < 300  # noqa: PLR2004
                if well:
                    self._learn(server, await read_bounded(response, LONGEST_LISTING))
                missing = response.status in NO_LISTING
            if missing:
                url = server.url.removesuffix("/v1") + "/health"
                async with session.get(url, timeout=timeout, allow_redirects=False) as response:
                    well = response.status == 200  # noqa: PLR2004
        except (aiohttp.ClientError, UpstreamError, OSError, ValueError) as error:
            self._warn(server, f"{type(error).__name__}: {error}")
        else:
            self._warn(server, "" if well else f"GET /models answered {response.status}")
        if well and server.asked != server.revision:
            server.asked, server.tells_thoughts = server.revision, False
            server.opened = await ask_opened(session, server.url, server.owner, server.model)
        server.misses = 0 if well else server.misses + 1

    def _warn(self, server: Server, trouble: str) -> None:
        """Once when a server goes, once when it is back."""
        if trouble and server.url not in self._warned:
            self._warned.add(server.url)
            logger.warning("upstream %s does not answer its checks: %s", server.url, trouble)
        elif not trouble and server.url in self._warned:
            self._warned.discard(server.url)
            logger.warning("upstream %s is back", server.url)

    def _learn(self, server: Server, listing: bytes) -> None:
        """What its list of models tells of the one it is asked for. A proxy may list nothing that fits."""
        data = orjson.loads(listing)
        models = [model for model in _list(data, "data") if isinstance(model.get("id"), str)]
        known = next((model for model in models if model["id"] == self.model), None)
        model = known or (models[0] if models else {})
        server.model = self.model or model.get("id", "")
        server.owner = str(model.get("owned_by", ""))
        server.revision = without_folder(str(model.get("root") or model.get("id") or ""))
        meta = model.get("meta")
        length = model.get("max_model_len") or (meta.get("n_ctx") if isinstance(meta, dict) else 0)
        server.context_length = length if isinstance(length, int) and length > 0 else 0


def without_folder(name: str) -> str:
    """A server may name a model by its file: where that lies is nobody's business. ``org/model`` stays whole."""
    is_file = name.startswith(("/", ".")) or "\\" in name or name.endswith(".gguf")
    return name.replace("\\", "/").rpartition("/")[2] if is_file else name


def make_server(url: str) -> Server:
    """Raises ``ValueError`` for what is no address of a server."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"--upstream wants http://HOST:PORT or http://HOST:PORT/v1, not {url!r}")
    base = url.rstrip("/")
    return Server(base if base.endswith("/v1") else base + "/v1", Breaker(time.monotonic))


def _list(data: Any, name: str) -> list[dict[str, Any]]:
    values = data.get(name) if isinstance(data, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []
