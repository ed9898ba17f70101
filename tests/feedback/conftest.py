"""Answers that ended when a test says so, with the rating it says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from accounts.models import Membership, Role
from accounts.scoping import all_tenants
from chatapp.chat.models import Message
from feedback.models import Rating
from feedback.rollup import roll_up_ratings
from tests.factories import AnswerFactory, ConversationFactory, GenerationFactory, MembershipFactory

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)  # a Tuesday


@pytest.fixture
def analyst(member: Membership) -> Membership:
    return MembershipFactory(tenant=member.tenant, role=Role.ANALYST)


@pytest.fixture
def plain_member(member: Membership) -> Membership:
    """A member of the same workspace, without reports."""
    return MembershipFactory(tenant=member.tenant, role=Role.MEMBER)


@pytest.fixture
def ended() -> Callable[..., Message]:
    """``ended(membership, at=…, model=…, version=…, value=±1, reasons=[…], comment="…")``: an answer of theirs."""

    def make(
        membership: Membership,
        at: datetime = NOON,
        *,
        model: str = "small",
        version: str = "v1",
        value: int | None = None,
        reasons: list[str] | None = None,
        comment: str = "",
        **fields: object,
    ) -> Message:
        conversation = ConversationFactory(membership=membership)
        message = AnswerFactory(conversation=conversation, model=model, ended_at=at, **fields)
        run = GenerationFactory(
            message=message, model=model, prompt_version=version, finished_at=at, state=message.state
        )
        if value is not None:
            Rating.everyone.create(
                tenant=membership.tenant,
                user=membership.user,
                message=message,
                generation=run,
                value=value,
                reasons=reasons or [],
                comment=comment,
            )
        return message

    return make


@pytest.fixture
def roll_up() -> Callable[..., int]:
    """``roll_up(now=…, days=…)`` as the Celery task does it: for all tenants."""

    def run(now: datetime = NOON, days: int = 3) -> int:
        with all_tenants():
            return roll_up_ratings(days=days, now=now)

    return run
