"""Deleted conversations leave the database when they can no longer come back; what was paid stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from accounts.models import LedgerEntry, UsageDay
from accounts.quotas import today
from accounts.scoping import all_tenants
from chatapp.chat import purging
from chatapp.chat.models import Conversation, Generation, Message
from chatapp.chat.tasks import purge
from feedback.models import Rating, RatingEvent
from tests.factories import AnswerFactory, ConversationFactory, GenerationFactory

pytestmark = pytest.mark.django_db


def deleted(days: float | None) -> Conversation:
    """A conversation with a rated and paid answer, deleted so many days ago."""
    at = None if days is None else timezone.now() - timedelta(days=days)
    conversation = ConversationFactory(deleted_at=at)
    run = GenerationFactory(message=AnswerFactory(conversation=conversation))
    about = {"tenant": run.tenant, "user": run.user, "message": run.message, "generation": run, "value": 1}
    Rating.everyone.create(**about)
    RatingEvent.everyone.create(kind="rated", **about)
    tokens = {"model": "m", "prompt_tokens": 1, "output_tokens": 2, "day": today()}
    LedgerEntry.everyone.create(tenant=run.tenant, user=run.user, generation_id=run.pk, **tokens)
    UsageDay.everyone.create(tenant=run.tenant, day=today(), used=3)
    return conversation


def test_the_task_purges_what_is_older_than_the_setting_and_nothing_else(settings):
    settings.CHATAPP_PURGE_DAYS = 7
    old, young, kept = deleted(7.01), deleted(6.99), deleted(None)
    purge()
    assert set(Conversation.everyone.values_list("pk", flat=True)) == {young.pk, kept.pk}
    assert not Message.everyone.filter(conversation=old.pk).exists()
    assert [model.everyone.count() for model in (Message, Generation, Rating, RatingEvent)] == [4, 2, 2, 2]
    assert [model.everyone.count() for model in (LedgerEntry, UsageDay)] == [3, 3]
    assert LedgerEntry.everyone.filter(user=old.user_id).count() == 1


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_any_number_goes_in_batches(monkeypatch, count):
    monkeypatch.setattr(purging, "BATCH", 2)
    for _ in range(count):
        deleted(31)
    with all_tenants():
        assert purging.purge_conversations(days=30) == count
        assert purging.purge_conversations(days=30) == 0
    assert Conversation.everyone.count() == 0


def test_it_runs_every_day_and_keeps_thirty_days():
    planned = settings.CELERY_BEAT_SCHEDULE["purge-conversations"]
    assert (planned["task"], planned["schedule"]) == (purge.name, 86_400)
    assert settings.CHATAPP_PURGE_DAYS == 30
