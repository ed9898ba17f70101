"""Two workspaces with people of every role, what three of them have there, and what has changed of it all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.apps import apps
from django.core import mail
from django.db import connection
from django.test import Client
from django.utils import timezone

from accounts.models import Domain, Invitation, InviteLink, Membership, Role, User
from accounts.scoping import tenant_scope
from chatapp.chat.asking import send_message
from chatapp.chat.models import Conversation, Generation, Message
from chatapp.queue.transport import get_transport
from feedback.models import Rating
from inference.errors import UnknownGeneration
from tests.factories import (
    AnswerFactory,
    ConversationFactory,
    GenerationFactory,
    MembershipFactory,
    PlanFactory,
    TenantFactory,
    UserFactory,
)

CALLERS = ("owner", "admin", "analyst", "member", "stranger", "staff", "anonymous")
"""Who tries a door: the person in a workspace whom the thing belongs to, and who owns the workspace; three of their
colleagues; the owner of another workspace; platform staff with every right in the admin and no workspace; nobody.
"""

AGO = timedelta(hours=1)
MODELS = {model._meta.db_table: model for model in apps.get_models(include_auto_created=True)}
EVERY_ROW = " union all ".join(f"select '{table}', row::text from {table} row" for table in MODELS) + " order by 1, 2"
Rows = dict[str, list[str]]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Things:
    """Names of what one person has in one workspace."""

    workspace: str
    tenant: UUID
    conversation: UUID  # at rest
    question: UUID
    sibling: UUID  # an answer to it
    answer: UUID  # another, which is shown: stopped, so that it can be continued, and rated
    generation: UUID
    deleted: UUID  # a conversation
    live: UUID  # an answer in line, of a third one
    live_generation: UUID
    live_conversation: UUID
    colleague: int  # somebody else's place in the workspace
    invitation: UUID
    link: UUID
    domain: UUID
    token: str  # of the link
    name: str  # of the workspace

    @classmethod
    def missing(cls) -> Things:
        """Names of nothing."""
        others = {"workspace": "nowhere", "colleague": 0, "token": "none", "name": "Nowhere"}
        return cls(**others, **{name: uuid4() for name in cls.__annotations__ if name not in others})

    def inside(self, other: Things) -> Things:
        """These, looked for in another's workspace."""
        return replace(self, workspace=other.workspace, tenant=other.tenant)


@dataclass(frozen=True)
class World:
    memberships: dict[str, Membership]
    things: dict[str, Things]
    clients: dict[str, Client]

    @property
    def owners(self) -> Things:
        return self.things["owner"]

    def own(self, who: str) -> Things:
        """What ``who`` has; of those who have nothing, the names of nothing."""
        return self.things.get(who) or Things.missing().inside(self.owners)


def make_world() -> World:
    memberships = _memberships()
    things = {who: _things(memberships[who]) for who in ("owner", "member", "stranger")}
    users: dict[str, User | None] = {who: membership.user for who, membership in memberships.items()}
    users |= {"staff": UserFactory(is_staff=True, is_superuser=True), "anonymous": None}
    return World(memberships, things, {who: logged_in(users[who]) for who in CALLERS})


def logged_in(user: User | None, **options: Any) -> Client:
    """A browser of this person; of nobody without one."""
    client = Client(**options)
    if user is not None:
        client.force_login(user)
    return client


def _memberships() -> dict[str, Membership]:
    here, elsewhere = (TenantFactory(plan=PlanFactory(tokens_per_day=None)) for _ in range(2))
    roles = {"owner": Role.OWNER, "admin": Role.ADMIN, "analyst": Role.ANALYST, "member": Role.MEMBER}
    colleagues = {who: MembershipFactory(tenant=here, role=role) for who, role in roles.items()}
    return {**colleagues, "stranger": MembershipFactory(tenant=elsewhere)}


def _things(membership: Membership) -> Things:
    sibling = AnswerFactory(conversation__membership=membership)
    answer = _stopped_beside(sibling)
    run = GenerationFactory(message=answer, state=Generation.State.STOPPED)
    owned = {"tenant": membership.tenant, "user": membership.user}
    Rating.everyone.create(**owned, message=answer, generation=run, value=1)
    with tenant_scope(membership.tenant_id):
        live = send_message(membership=membership, text="Wait", key=uuid4(), conversation_id=_conversation(membership))
    return Things(
        workspace=membership.tenant.slug,
        tenant=membership.tenant_id,
        conversation=answer.conversation_id,
        question=answer.parent_id,
        sibling=sibling.pk,
        answer=answer.pk,
        generation=run.pk,
        deleted=_conversation(membership, deleted_at=timezone.now()),
        live=live.answer.pk,
        live_generation=live.generation.pk,
        live_conversation=live.conversation.pk,
        **_ways_in(membership),
    )


def _ways_in(membership: Membership) -> dict[str, Any]:
    """A colleague of these things' own, and what lets others in."""
    owned = {"tenant": membership.tenant, "created_by": membership.user}
    expires = {"expires_at": timezone.now() + timedelta(days=1)}
    link = InviteLink.everyone.create(**owned, **expires)
    email = f"{membership.user.pk.hex[-12:]}@invited.example"
    return {
        "colleague": MembershipFactory(tenant=membership.tenant, role=Role.ANALYST).pk,
        "invitation": Invitation.everyone.create(**owned, **expires, email=email, sent_at=timezone.now() - AGO).pk,
        "link": link.pk,
        "domain": Domain.everyone.create(**owned, name=f"{membership.user.pk.hex[-12:]}.example").pk,
        "token": link.token,
        "name": membership.tenant.name,
    }


def _stopped_beside(answer: Message) -> Message:
    fields = {"state": Message.State.STOPPED, "can_continue": True}
    made: Message = AnswerFactory(conversation=answer.conversation, parent=answer.parent, **fields)
    return made


def _conversation(membership: Membership, **fields: Any) -> UUID:
    conversation: Conversation = ConversationFactory(membership=membership, **fields)
    return conversation.pk


def snapshot() -> Rows:
    """Every row there is, the logs of what is being written, and how many mails were sent."""
    rows: Rows = {model.__name__: [] for model in MODELS.values()}
    with connection.cursor() as cursor:
        cursor.execute(EVERY_ROW)
        for table, row in cursor.fetchall():
            rows[MODELS[table].__name__].append(row)
    logs = [_log(str(name)) for name in Generation.everyone.values_list("pk", flat=True).order_by("pk")]
    return rows | {"logs": logs, "mails": [str(len(mail.outbox))]}


def _log(generation: str) -> str:
    try:
        return f"{generation} {get_transport().log(generation)}"
    except UnknownGeneration:
        return generation


def changed(before: Rows, after: Rows) -> set[str]:
    """Names of the tables, or other kinds of things, that are not what they were."""
    return {name for name in before if before[name] != after[name]}


def watch(act: Callable[[], Made]) -> tuple[Made, set[str]]:
    """What ``act`` gives, and what it changes."""
    before = snapshot()
    made = act()
    return made, changed(before, snapshot())


def fill(value: Any, its: Things, own: Things | None = None) -> Any:
    """``value`` with ``{answer}``, the name of one of ``its``, and ``{own.answer}``, the caller's, in place."""
    if isinstance(value, dict):
        return {name: fill(part, its, own) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(fill(part, its, own) for part in value)
    return value.format(own=own, **vars(its)) if isinstance(value, str) else value
