"""The WebSocket of one tab. The protocol is written down in docs/protocol.md."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar
from uuid import UUID

import orjson
import redis
import structlog
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import SESSION_KEY, get_user
from django.db import InterfaceError, OperationalError

from accounts.models import Membership
from accounts.permissions import get_membership
from accounts.scoping import tenant_scope
from chatapp.chat import asking
from chatapp.chat.asking import Accepted
from chatapp.chat.models import Message
from chatapp.chat.permissions import get_conversation
from chatapp.common.errors import ChatappError, NotFound, SecondFactorRequired
from chatapp.common.threads import in_thread
from chatapp.queue.outages import as_unavailable
from inference.errors import TransportUnavailable

from . import frames
from .acts import Unanswered, act, usage_json
from .login_watch import NO_SECOND_FACTOR, NO_WORKSPACE, Login, login_watch, why_logged_out
from .model_watch import watch
from .payloads import turn_json
from .socket_limits import TOO_MANY, Flooded, FrameLimit, open_sockets
from .socket_middleware import own_send
from .streams import AnswerStream, Frame

R = TypeVar("R")

logger = structlog.get_logger(__name__)

PROTOCOL = 1
RESTARTED, TRY_AGAIN = 1012, 1013  # the server; the database is away


class LoggedOut(Exception):
    """The session behind the socket is over; ``code`` is the close code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class ChatConsumer(AsyncWebsocketConsumer):
    """One tab's requests, and the streams it reads. Everything runs in the scope of its tenant."""

    membership: Membership
    _login: Login | None = None
    _counted: tuple[UUID, UUID] | None = None  # among the open sockets

    async def __call__(self, *arguments: Any) -> None:
        try:
            await super().__call__(*arguments)
        finally:  # whatever ended it
            if self._counted:
                open_sockets.leave(*self._counted)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Without what Channels does before each: a thread that closes connections, of which it has none."""
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        self._streams: dict[UUID, asyncio.Task[None]] = {}
        self._open: set[UUID] = set()
        self._over = False
        self._limit = FrameLimit()
        self._send_frame = own_send(self.scope, self.base_send)
        await self.accept()
        try:
            usage = await self._do(usage_json)
        except LoggedOut as ended:
            await self._end(ended.code)
            return
        except NotFound:
            await self._end(NO_WORKSPACE)
            return
        except SecondFactorRequired:
            await self._end(NO_SECOND_FACTOR)
            return
        except (OperationalError, InterfaceError):
            await self._end(TRY_AGAIN)
            return
        names = (self.membership.user_id, self.membership.tenant_id)
        if not open_sockets.enter(*names):
            await self._end(TOO_MANY)
            return
        self._counted = names
        self._login = Login.of(self.membership, self.scope["session"].session_key)
        login_watch.listen(self._end, self._login)
        model = await watch.add(self._tell_model)
        person = str(self.membership.user_id)
        await self._send({"type": "welcome", "protocol": PROTOCOL, "person": person, "model": model, "usage": usage})

    async def disconnect(self, code: int) -> None:
        watch.remove(self._tell_model)
        login_watch.remove(self._end)
        self._end_streams()
        for conversation in self._open:
            with contextlib.suppress(redis.RedisError):
                await self.channel_layer.group_discard(_group(conversation), self.channel_name)

    async def _end(self, code: int) -> None:
        """From here on nothing is told, whether or not the client hears that the socket is closed."""
        if not self._over:
            self._over = True
            self._end_streams()
            await self.close(code)

    def _end_streams(self) -> None:
        for task in self._streams.values():
            task.cancel()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        if self._over or not hasattr(self, "membership"):
            return
        request: frames.Request | None = None
        try:
            try:
                request = frames.parse_frame(text_data or "")
            finally:
                self._limit.count()
            await self._handle(request)
        except Flooded:
            await self._end(TOO_MANY)
        except LoggedOut as ended:
            await self._end(ended.code)
        except SecondFactorRequired:
            await self._end(NO_SECOND_FACTOR)
        except Unanswered:
            await self.close(RESTARTED)
        except frames.BadFrame as error:
            await self._refuse(error.ref, error)
        except ChatappError as error:
            await self._refuse(request and request.ref, error)
        except Exception as error:
            refusal = as_unavailable(error)
            if refusal is None:
                logger.exception("socket.request_failed")
            await self._refuse(request and request.ref, refusal or ChatappError())

    async def _refuse(self, ref: Any, error: ChatappError, **names: str) -> None:
        await self._send({"type": "error", "ref": ref, **names, "error": error.as_json()})

    async def _handle(self, request: frames.Request) -> None:
        match request:
            case frames.Open():
                await self._open_conversation(request)
            case frames.Send() | frames.Regenerate() | frames.Continue():
                await self._act(request)
            case frames.Stop():
                await self._do(_stop, message=request.message)
                await self._send({"type": "stopping", "ref": request.ref})
            case frames.Subscribe():
                await in_thread(self._load_membership)()
                self._subscribe(request.message, request.generation, request.after_seq, request.ref)
            case frames.Unsubscribe():
                self._unsubscribe(request.message)
            case frames.Ping():  # of a login that has ended the watch tells
                await self._send({"type": "pong", "ref": request.ref})

    # Requests

    async def _open_conversation(self, request: frames.Open) -> None:
        conversation = await self._do(get_conversation, conversation_id=request.conversation)
        await self._join(conversation.pk)
        leaf = str(conversation.leaf_id) if conversation.leaf_id else None
        names = {"conversation": str(conversation.pk), "leaf": leaf, "title": conversation.title}
        await self._send({"type": "opened", "ref": request.ref, **names})

    async def _act(self, request: frames.Act) -> None:
        """All that the database is asked is asked at once: a thread for each question would cost more than they do."""
        accepted, frame, usage = await self._do(act, request=request)
        await self._join(accepted.conversation.pk)
        await self._send({"type": "accepted", "ref": request.ref, **frame})
        unfinished = accepted.generation.finished_at is None
        self._subscribe(accepted.answer.pk, accepted.generation.pk, 0, None, unfinished=unfinished)
        await self._tell_other_tabs(accepted)
        if usage:
            await self._send({"type": "usage", "usage": usage})

    def _subscribe(
        self, message: UUID, generation: UUID, after_seq: int, ref: Any, *, unfinished: bool = False
    ) -> None:
        """Read an answer; a new subscription to the same answer takes the place of the old one."""
        self._unsubscribe(message)
        stream = AnswerStream(self.membership, message, generation, after_seq, self._send, unfinished=unfinished)
        task = self._streams[message] = asyncio.create_task(self._run_stream(stream, ref))
        task.add_done_callback(lambda ended: self._forget(message, ended))

    def _forget(self, message: UUID, ended: asyncio.Task[None]) -> None:
        if self._streams.get(message) is ended:
            del self._streams[message]

    def _unsubscribe(self, message: UUID) -> None:
        if task := self._streams.pop(message, None):
            task.cancel()

    async def _run_stream(self, stream: AnswerStream, ref: Any) -> None:
        """What ends it names its answer: of a stream that the server began, the client knows no ``ref``."""
        try:
            with tenant_scope(self.membership.tenant_id):
                await stream.run()
        except ChatappError as error:
            await self._refuse(ref, error, **stream.names)
        except TransportUnavailable:
            await self.close(RESTARTED)  # the client reconnects and subscribes again where it stood
        except Exception:
            logger.exception("socket.stream_failed")
            await self._refuse(ref, ChatappError(), **stream.names)

    # Hints from other tabs and tasks

    async def conversation_written(self, event: dict[str, Any]) -> None:
        """Another tab has asked something. The rows are read anew; the hint carries no content."""
        if event["by"] == self.channel_name:
            return
        try:
            with tenant_scope(self.membership.tenant_id):
                messages = await in_thread(self._newest_turn)(UUID(event["conversation"]))
        except NotFound:
            return  # deleted meanwhile, in another tab
        await self._send({"type": "message", "conversation": event["conversation"], "messages": messages})

    async def conversation_titled(self, event: dict[str, Any]) -> None:
        await self._send({"type": "title", "conversation": event["conversation"], "title": event["title"]})

    async def conversation_removed(self, event: dict[str, Any]) -> None:
        await self._send({"type": "removed", "conversation": event["conversation"]})

    def _newest_turn(self, conversation_id: UUID) -> list[Frame]:
        conversation = get_conversation(self.membership, conversation_id)
        leaf = Message.objects.select_related("parent").get(pk=conversation.leaf_id)
        return turn_json([message for message in (leaf.parent, leaf) if message], self.membership.user_id)

    async def _tell_other_tabs(self, accepted: Accepted) -> None:
        conversation = accepted.conversation.pk
        event = {"type": "conversation.written", "conversation": str(conversation), "by": self.channel_name}
        try:
            await self.channel_layer.group_send(_group(conversation), event)
        except Exception:  # a hint may be lost; the answer that it tells of may not
            logger.warning("socket.hint_lost", exc_info=True)

    async def _tell_model(self, model: dict[str, Any]) -> None:
        await self._send({"type": "model", "model": model})

    # Parts

    async def _join(self, conversation: UUID) -> None:
        if conversation not in self._open:
            try:
                await self.channel_layer.group_add(_group(conversation), self.channel_name)
            except Exception:  # without hints from other tabs until the next request
                logger.warning("socket.not_joined", exc_info=True)
            else:
                self._open.add(conversation)

    async def _do(self, service: Callable[..., R], **arguments: Any) -> R:
        """``service`` for the member as of now, in their tenant's scope."""
        return await in_thread(self._as_member)(service, arguments)

    def _as_member(self, service: Callable[..., R], arguments: dict[str, Any]) -> R:
        self._load_membership()
        with tenant_scope(self.membership.tenant_id):
            return service(self.membership, **arguments)

    def _load_membership(self) -> None:
        """Anew for every request: a role, a plan or the login may have been taken away meanwhile."""
        self.membership = (self._login and self._login.find_membership()) or self._read_membership()

    def _read_membership(self) -> Membership:
        """By all that was asked for when the socket was opened. Raises what tells why there is none."""
        session = type(self.scope["session"]._wrapped)(self.scope["session"].session_key)
        whose = session.get(SESSION_KEY)  # while it says so: one with an old password is thrown away
        user = get_user(SimpleNamespace(session=session))  # type: ignore[arg-type]  # all of a request that it reads
        if not user.is_authenticated:
            raise LoggedOut(why_logged_out(whose))
        return get_membership(user, self.scope["url_route"]["kwargs"]["workspace"])

    async def _send(self, frame: Frame) -> None:
        """To a client that has gone there is nothing to say; ``disconnect`` follows and cleans up."""
        if self._over:
            return
        with contextlib.suppress(OSError):
            await self._send_frame({"type": "websocket.send", "text": orjson.dumps(frame).decode()})


def _stop(membership: Membership, message: UUID) -> None:
    asking.stop_answer(membership=membership, message_id=message)


def _group(conversation: UUID) -> str:
    return f"conversation.{conversation}"
