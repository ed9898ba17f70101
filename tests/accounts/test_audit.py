"""The log of acts: written with what it tells of, and never changed."""

from __future__ import annotations

from uuid import uuid4

import pytest
from django.db import DatabaseError, transaction

from accounts.audit import Origin, acting_from, record_act
from accounts.models import AuditEvent

pytestmark = pytest.mark.django_db


def test_an_event_says_who_and_from_where(member):
    with acting_from(Origin(member.user_id, "203.0.113.7", "Browser " + "x" * 300)):
        record_act("member.role", tenant=member.tenant_id, thing=member, before={"role": "member"})
    event = AuditEvent.objects.get()
    assert (event.tenant_id, event.actor_id, event.address) == (member.tenant_id, member.user_id, "203.0.113.7")
    assert (event.object_kind, event.object_id, len(event.agent)) == ("membership", str(member.pk), 200)
    assert (event.before, event.after) == ({"role": "member"}, {})


def test_without_a_person_nobody_is_named():
    record_act("workspace.purged", tenant=uuid4())
    assert AuditEvent.objects.get().actor_id is None


@pytest.mark.parametrize("change", [lambda rows: rows.update(act="nothing"), lambda rows: rows.delete()])
def test_the_database_refuses_to_change_it(change):
    record_act("workspace.created", tenant=uuid4())
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic():
        change(AuditEvent.objects.all())
    assert AuditEvent.objects.get().act == "workspace.created"


def test_it_goes_with_what_it_tells_of():
    with transaction.atomic():
        record_act("workspace.created", tenant=uuid4())
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()
