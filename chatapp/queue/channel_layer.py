"""Channels' groups in Redis, which carry hints: while Redis is away they are lost, and nothing else is.

channels_redis leaves it to whoever subscribes or sends that a connection was cut; here they never see it. What is
subscribed meanwhile is subscribed once Redis is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from inference.transport import MAYBE_AWAY, is_away

logger = structlog.get_logger(__name__)

RETRY_SECONDS = 0.5
LISTEN_SECONDS = 0.1
OPTIONS: dict[str, Any] = {"socket_connect_timeout": 2.0, "socket_timeout": 5.0, "health_check_interval": 15}


class SteadyChannelLayer(RedisPubSubChannelLayer):
    """``url``: the address of Redis."""

    def __init__(self, url: str) -> None:
        super().__init__(hosts=[{"address": url, **OPTIONS, "retry": Retry(ConstantBackoff(0.05), 1)}])

    def _get_layer(self) -> RedisPubSubLoopLayer:
        layer = super()._get_layer()
        layer._shards = [_steady(shard) for shard in layer._shards]
        return layer


def _steady(shard: RedisSingleShardConnection) -> SteadyShard:
    return shard if isinstance(shard, SteadyShard) else SteadyShard(shard.host, shard.channel_layer)


class SteadyShard(RedisSingleShardConnection):
    """One connection that publishes and one that listens. The receiver alone connects the latter and reads from it:
    others write to it while it stands, and leave the rest to the receiver.
    """

    async def publish(self, channel: str, message: bytes) -> None:
        with _forgiving("publish"):
            await super().publish(channel, message)

    async def subscribe(self, channel: str) -> None:
        async with self._lock:
            if channel in self._subscribed_to:
                return
            self._ensure_redis()
            self._subscribed_to.add(channel)
            with _forgiving("subscribe"):
                if self._receive_task is None:
                    await self._pubsub.subscribe(channel)
                elif await self._write("SUBSCRIBE", channel):
                    self._pubsub.channels[channel.encode()] = None
            self._ensure_receiver()

    async def unsubscribe(self, channel: str) -> None:
        async with self._lock:
            if channel in self._subscribed_to:
                self._subscribed_to.remove(channel)
                self._pubsub.channels.pop(channel.encode(), None)  # else it would come back with the connection
                with _forgiving("unsubscribe"):
                    await self._write("UNSUBSCRIBE", channel)

    async def _write(self, *words: str) -> bool:
        connection = self._pubsub.connection
        if connection is None or not connection.is_connected:
            return False
        await connection.send_command(*words, check_health=False)
        return True

    async def _do_receiving(self) -> None:
        while True:
            try:
                await self._receive()
            except MAYBE_AWAY as error:
                if not is_away(error):
                    logger.exception("hints.receiving_failed")
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:  # a task that ended would leave every page without hints
                logger.exception("hints.receiving_failed")
                await asyncio.sleep(RETRY_SECONDS)

    async def _receive(self) -> None:
        known = {name.decode() for name in self._pubsub.channels}
        if missing := self._subscribed_to - known:
            await self._pubsub.subscribe(*missing)
        if self._pubsub.subscribed:
            self._receive_message(
                await self._pubsub.get_message(ignore_subscribe_messages=True, timeout=LISTEN_SECONDS)
            )
        else:
            await asyncio.sleep(LISTEN_SECONDS)


@contextmanager
def _forgiving(what: str) -> Iterator[None]:
    try:
        yield
    except MAYBE_AWAY as error:
        if not is_away(error):
            raise
        logger.warning("hints.away", what=what, error=str(error))
