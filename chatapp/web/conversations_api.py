"""Conversations over REST: list, search, read, rename, switch branch, delete and bring back."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Membership
from chatapp.chat.asking import stop_answer
from chatapp.chat.models import Conversation, Message
from chatapp.chat.permissions import get_conversation, get_message
from chatapp.chat.search import find_conversations, first_of
from chatapp.common.errors import BadRequest
from chatapp.common.serializers import IdField, LineField, Strict
from chatapp.queue.page_hints import send_hint

from .payloads import conversation_json, thread_json

PAGE = 50


class ConversationChange(Strict):
    """A new title, or the message whose branch to show."""

    title = LineField(max_length=200, required=False)
    leaf = IdField(required=False)


class ConversationSearch(serializers.Serializer[Any]):
    """Words to look for in titles and messages, and the time and id of the conversation that a page begins after."""

    q = serializers.CharField(max_length=1000, required=False, allow_blank=True)
    before = serializers.DateTimeField(required=False)
    before_id = serializers.UUIDField(required=False)


class ConversationView(APIView):
    """Base of the views below: the person's place in the workspace of the address."""

    def membership(self) -> Membership:
        membership: Membership = self.request._request.membership  # type: ignore[attr-defined]
        return membership

    def read(self, conversation: Conversation) -> Response:
        data = conversation_json(conversation, self.membership().tenant)
        return Response({**data, "messages": thread_json(conversation)})


class ConversationList(ConversationView):
    @extend_schema(
        operation_id="conversations_list",
        parameters=[ConversationSearch],
        responses={200: dict},
    )
    def get(self, request: Request) -> Response:
        """Newest first, up to 50 at a time; ``q`` searches titles and messages.

        A page of a search may hold fewer, or none, and yet have a ``next``: it ends where the time for it was over.
        """
        asked = _asked(request)
        rows = Conversation.objects.of(request.user)
        if before := asked.get("before"):
            rows = rows.after(before, asked.get("before_id"))
        found = find_conversations(rows, asked["q"], PAGE) if asked.get("q") else first_of(rows, PAGE)
        tenant = self.membership().tenant
        results = [conversation_json(row, tenant) for row in found.conversations]
        return Response({"results": results, "next": _next(request, *found.last) if found.last else None})


class ConversationDetail(ConversationView):
    @extend_schema(responses={200: dict})
    def get(self, request: Request, conversation_id: UUID) -> Response:
        return self.read(get_conversation(self.membership(), conversation_id))

    @extend_schema(request=ConversationChange, responses={200: dict})
    def patch(self, request: Request, conversation_id: UUID) -> Response:
        conversation = get_conversation(self.membership(), conversation_id)
        change = ConversationChange(data=request.data)
        change.is_valid(raise_exception=True)
        if "leaf" in change.validated_data:  # first: where it is refused, nothing is changed
            _show_branch(self.membership(), conversation, change.validated_data["leaf"])
        if "title" in change.validated_data:
            conversation.rename(change.validated_data["title"], by_hand=True)
            _hint(conversation, "conversation.titled", title=conversation.title)
        return self.read(conversation)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, conversation_id: UUID) -> Response:
        """Out of sight at once; ``restore`` brings it back. An answer still being written is stopped."""
        conversation = get_conversation(self.membership(), conversation_id)
        for message in conversation.messages.filter(state__in=Message.LIVE):
            stop_answer(membership=self.membership(), message_id=message.pk)
        conversation.set_deleted(timezone.now())
        _hint(conversation, "conversation.removed")
        return Response(status=204)


class ConversationRestore(ConversationView):
    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, conversation_id: UUID) -> Response:
        conversation = get_conversation(self.membership(), conversation_id, deleted=True)
        conversation.set_deleted(None)
        return self.read(conversation)


def _show_branch(membership: Membership, conversation: Conversation, message_id: UUID) -> None:
    """Show the branch through a message, down to its newest descendant."""
    message = get_message(membership, message_id)
    if message.conversation_id != conversation.pk:
        raise BadRequest("That message is not in this conversation.")
    children = {row.parent_id: row for row in conversation.messages.all()}  # the newest child of each
    while message.pk in children:
        message = children[message.pk]
    conversation.leaf = message
    conversation.save(update_fields=["leaf"])


def _hint(conversation: Conversation, kind: str, **fields: str) -> None:
    event = {"type": kind, "conversation": str(conversation.pk), **fields}
    send_hint(f"conversation.{conversation.pk}", event)


def _next(request: Request, at: datetime, pk: UUID) -> str:
    query = request.query_params.copy()
    query["before"], query["before_id"] = at.isoformat(), str(pk)
    return f"{request.path}?{query.urlencode()}"


def _asked(request: Request) -> dict[str, Any]:
    """What the address asks for. A plus sign that was not escaped is a space by now; no time has one."""
    given = request.query_params.dict()
    before = str(given.pop("before", "")).replace(" ", "+")
    search = ConversationSearch(data={**given, **({"before": before} if before else {})})
    search.is_valid(raise_exception=True)
    asked: dict[str, Any] = search.validated_data
    return asked
