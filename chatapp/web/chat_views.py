"""The landing page, the way to a workspace, and the chat."""

from __future__ import annotations

from itertools import groupby
from typing import Any
from uuid import UUID

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Membership, Tenant
from accounts.models.people import Act
from accounts.quotas import read_usage
from chatapp.chat.models import Conversation
from chatapp.chat.permissions import get_conversation
from chatapp.common.errors import NotFound
from chatapp.queue.available_models import models_json
from chatapp.queue.model_status import model_json, read_stats

from .payloads import conversation_json, thread_json
from .suggestions import suggestions

SIDEBAR = 100  # conversations; older ones are found by search


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The landing page, a person's first workspace, or what to do without one."""
    if not request.user.is_authenticated:
        return render(request, "web/landing.html")
    tenant = Tenant.objects.of(request.user).first()
    if tenant is None:
        return render(request, "web/no_workspace.html")
    return redirect(tenant)


@require_safe
def new(request: HttpRequest) -> HttpResponse:
    return _page(request, None)


@require_safe
def chat(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    try:
        conversation = get_conversation(request.membership, conversation_id)  # type: ignore[attr-defined]
    except NotFound:
        raise Http404 from None
    return _page(request, conversation)


def _page(request: HttpRequest, conversation: Conversation | None) -> HttpResponse:
    membership: Membership = request.membership  # type: ignore[attr-defined]
    conversations = Conversation.objects.of(membership.user)[:SIDEBAR]
    items = [conversation_json(item, membership.tenant) | {"at": item.updated_at} for item in conversations]
    page = page_json(membership, conversation)
    context = {
        "page": page,
        "suggestions": suggestions(page["model"]["name"]),
        "conversation": conversation,
        "conversation_groups": group_by_day(items),
    }
    return render(request, "web/chat.html", context)


def page_json(membership: Membership, conversation: Conversation | None) -> dict[str, Any]:
    """Everything the chat page's scripts start from; see docs/frontend.md."""
    user, tenant, stats = membership.user, membership.tenant, read_stats()
    return {
        "workspace": {"slug": tenant.slug, "name": tenant.name, "url": tenant.get_absolute_url()},
        "socket": f"/ws/w/{tenant.slug}/",
        "api": f"/api/v1/w/{tenant.slug}/",
        "me": {"id": str(user.pk), "name": user.name, "email": user.email, "initials": user.name[:1].upper()},
        "can_see_reports": membership.can_see_reports,
        "rates": tenant.collects_feedback,
        "manages": membership.can(Act.INVITE),
        "reports": reverse("feedback:report", args=[tenant.slug]),
        "conversation": conversation_json(conversation, tenant) if conversation else None,
        "messages": thread_json(conversation) if conversation else [],
        "model": model_json(stats),
        "models": models_json(stats.workers, tenant.allowed_models),
        "default_model": user.preferences.default_model,
        "usage": read_usage(tenant).as_json(),
        "limits": {"characters": settings.CHATAPP_MAX_MESSAGE_CHARACTERS},
    }


def group_by_day(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first, under Today, Yesterday, the last days, then by month. ``at`` is an aware time."""
    today = timezone.localdate()

    week, month = 7, 30

    def label(item: dict[str, Any]) -> str:
        day = timezone.localdate(item["at"])
        age = (today - day).days
        if age <= 1:
            return "Today" if age <= 0 else "Yesterday"
        if age <= month:
            return "Previous 7 days" if age <= week else "Previous 30 days"
        return day.strftime("%B %Y")

    return [{"label": name, "conversations": list(group)} for name, group in groupby(items, label)]
