"""Tenant isolation fails closed."""

from __future__ import annotations

import pytest

from accounts.models import LedgerEntry, Reservation, UsageDay
from accounts.scoping import NoTenantScope, all_tenants, tenant_scope
from chatapp.chat.models import Conversation, Generation, Message
from feedback.models import DailyRating, Rating
from tests.factories import ConversationFactory

OWNED = [Conversation, Message, Generation, UsageDay, LedgerEntry, Reservation, Rating, DailyRating]


@pytest.mark.parametrize("model", OWNED)
def test_reading_tenant_rows_outside_every_scope_is_an_error(model):
    with pytest.raises(NoTenantScope):
        model.objects.all()


def test_a_scope_shows_one_tenant_and_ends(member, stranger):
    own, other = ConversationFactory(membership=member), ConversationFactory(membership=stranger)
    with tenant_scope(member.tenant_id):
        assert list(Conversation.objects.all()) == [own]
        with tenant_scope(stranger.tenant_id):
            assert list(Conversation.objects.all()) == [other]
        assert list(Conversation.objects.all()) == [own]
    with pytest.raises(NoTenantScope):
        Conversation.objects.count()


def test_platform_work_says_so_and_sees_everything(member, stranger):
    made = {ConversationFactory(membership=person).pk for person in (member, stranger)}
    with all_tenants():
        assert set(Conversation.objects.values_list("pk", flat=True)) == made


def test_every_model_with_a_tenant_has_the_manager_that_fails_closed():
    from django.apps import apps

    from accounts.models import Membership
    from accounts.scoping import TenantManager

    owned = [m for m in apps.get_models() if any(f.name == "tenant" for f in m._meta.get_fields())]
    open_ones = [m for m in owned if not isinstance(m._default_manager, TenantManager)]
    assert open_ones == [Membership]
