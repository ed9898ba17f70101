"""How a server's template ends a prompt: with the beginning of a thought, or not. Those that can be asked are."""

from __future__ import annotations

from typing import Any

import aiohttp
import orjson

from ...errors import UpstreamError
from ..text import Family, opened_by
from .bodies import read_bounded

PROMPT_END = 16  # tokens
LONGEST_REPLY = 2**20  # bytes
TIMEOUT_SECONDS = 3.0
CHAT = {"messages": [{"role": "user", "content": "Hello"}], "add_generation_prompt": True}


async def ask_opened(session: aiohttp.ClientSession, url: str, owner: str, model: str) -> Family | None:
    """The thought that the prompts of the server at ``url`` begin; None for none, and where it cannot be asked."""
    root = url.removesuffix("/v1")
    try:
        end = await _read_end(session, root, owner, model)
    except (aiohttp.ClientError, UpstreamError, OSError, ValueError, KeyError, TypeError):
        return None  # the first answer tells it, too
    return opened_by(end) if isinstance(end, str) else None


async def _read_end(session: aiohttp.ClientSession, root: str, owner: str, model: str) -> Any:
    if owner == "llamacpp":
        return (await _post(session, root + "/apply-template", CHAT))["prompt"]
    if owner == "vllm":
        tokens = (await _post(session, root + "/tokenize", CHAT | {"model": model}))["tokens"]
        asked = {"model": model, "tokens": tokens[-PROMPT_END:]}
        return (await _post(session, root + "/detokenize", asked))["prompt"]
    return ""


async def _post(session: aiohttp.ClientSession, url: str, asked: dict[str, Any]) -> Any:
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with session.post(url, data=orjson.dumps(asked), timeout=timeout, allow_redirects=False) as response:
        response.raise_for_status()
        return orjson.loads(await read_bounded(response, LONGEST_REPLY))
