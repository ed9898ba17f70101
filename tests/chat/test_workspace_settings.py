"""What a workspace's settings change of its chats."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.scoping import all_tenants, tenant_scope
from chatapp.chat.asking import send_message
from chatapp.chat.models import Conversation
from chatapp.chat.purging import purge_conversations, retire_conversations
from chatapp.common.errors import Forbidden, ModelNotFound, NoWorker
from chatapp.queue.available_models import models_json
from feedback.services import rate_answer
from tests.conftest import report_ready
from tests.factories import AnswerFactory, ConversationFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def scope(member, transport, no_titles):
    with tenant_scope(member.tenant_id):
        yield


def setting(member, **settings):
    for name, value in settings.items():
        setattr(member.tenant, name, value)
    member.tenant.save(update_fields=list(settings))


def ask(member, transport, model=""):
    send_message(membership=member, text="Hello", key=uuid.uuid4(), model=model)
    return transport.claim("w1", 1, 1_000_000)[0].job


def test_the_workspaces_instructions_are_told_before_the_persons(member, transport):
    setting(member, instructions="We make telescopes.")
    member.user.choose(about="I am Ana.")
    system = ask(member, transport).messages[0].content
    assert system.index("We make telescopes.") < system.index("I am Ana.")


def test_only_models_that_are_allowed_are_used_and_offered(member, transport):
    report_ready(transport, "w2", "other")
    setting(member, allowed_models=["test", "gone"])
    with pytest.raises(ModelNotFound):
        ask(member, transport, "other")
    member.user.choose(default_model="other")
    assert ask(member, transport).model == "test"
    assert [model["name"] for model in models_json(transport.stats().workers, ["test"])] == ["test"]
    setting(member, allowed_models=["gone"])
    with pytest.raises(NoWorker):
        ask(member, transport)


def test_a_workspace_may_collect_no_ratings(member):
    answer = AnswerFactory(conversation__membership=member)
    setting(member, collects_feedback=False)
    with pytest.raises(Forbidden):
        rate_answer(membership=member, message_id=answer.pk, value=1)


def test_chats_go_once_they_are_older_than_the_workspace_keeps_them(member, stranger):
    rows = [ConversationFactory(membership=member) for _ in range(2)]
    theirs = ConversationFactory(membership=stranger)
    Conversation.everyone.filter(pk__in=[rows[0].pk, theirs.pk]).update(updated_at=timezone.now() - timedelta(days=8))
    with all_tenants():
        assert retire_conversations(days=30) == 0
        setting(member, retention_days=7)
        assert [retire_conversations(days=30) for _ in range(2)] == [1, 0]
        purge_conversations(days=30)
        assert set(Conversation.objects.values_list("pk", flat=True)) == {rows[1].pk, theirs.pk}
