"""Background work on people and workspaces."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task
from django.conf import settings
from django.core.mail import EmailMessage
from django.template.loader import render_to_string

from chatapp.common.periodic import one_at_a_time

from .models import Invitation
from .scoping import tenant_scope
from .workspaces import purge_workspaces


@shared_task(name="accounts.send_invitation", autoretry_for=(OSError,), retry_backoff=True, max_retries=6)
def send_invitation(tenant_id: str, invitation_id: str, version: int) -> None:
    """Mail an invitation, unless it was taken back, or sent again, meanwhile."""
    with tenant_scope(UUID(tenant_id)):
        rows = Invitation.objects.open().select_related("tenant", "created_by__chosen")
        invitation = rows.filter(pk=invitation_id, version=version).first()
    if invitation is not None:
        context = {"invitation": invitation, "brand": settings.CHATAPP_BRAND, "base": settings.CHATAPP_BASE_URL}
        subject, _, text = render_to_string("accounts/invitation.txt", context).partition("\n")
        EmailMessage(subject.strip(), text.strip() + "\n", to=[invitation.email]).send()


@shared_task(name="accounts.purge")
@one_at_a_time
def purge() -> None:
    """Begin to erase the workspaces that were closed long ago. Idempotent."""
    purge_workspaces(days=settings.CHATAPP_WORKSPACE_GRACE_DAYS)
