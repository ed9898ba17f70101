"""Workspaces over REST: make one, read and change its settings, close it, bring it back; and its log of acts."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import AuditEvent, Tenant, User
from accounts.models.people import INSTRUCTIONS_LIMIT, LONGEST_STARTER, MOST_STARTERS, Act, WhoInvites
from accounts.workspaces import (
    LONGEST_NAME,
    change_workspace,
    close_workspace,
    create_workspace,
    reopen_workspace,
)
from chatapp.common.serializers import FlagField, LineField, NumberField, Strict, TextField, WordField

from .workspace_view import ListQuery, WorkspaceView


class NewWorkspace(Strict):
    name = LineField(max_length=LONGEST_NAME)


class Closing(Strict):
    """The name of the workspace, so that none is closed by a slip."""

    name = LineField(max_length=LONGEST_NAME)


class WorkspaceSettings(Strict):
    name = LineField(max_length=LONGEST_NAME)
    accent = LineField(max_length=7, allow_blank=True)
    welcome = LineField(max_length=300, allow_blank=True)
    starters = serializers.ListField(child=LineField(max_length=LONGEST_STARTER), max_length=MOST_STARTERS)
    instructions = TextField(max_length=INSTRUCTIONS_LIMIT, allow_blank=True)
    allowed_models = serializers.ListField(child=LineField(max_length=200), max_length=100)
    retention_days = NumberField(min_value=1, max_value=36_500, allow_null=True)
    collects_feedback = FlagField()
    who_invites = WordField(choices=WhoInvites.choices)
    requires_mfa = FlagField()


class AuditQuery(ListQuery):
    act = serializers.CharField(max_length=60, required=False)


def workspace_json(tenant: Tenant) -> dict[str, Any]:
    return {"id": str(tenant.pk), "slug": tenant.slug, "name": tenant.name, "url": tenant.get_absolute_url()}


def event_json(event: AuditEvent, people: dict[UUID, User]) -> dict[str, Any]:
    actor = people.get(event.actor_id) if event.actor_id else None
    return {
        "id": str(event.pk),
        "at": event.at.isoformat(),
        "act": event.act,
        "by": actor.email if actor else None,
        "object": {"kind": event.object_kind, "id": event.object_id},
        "before": event.before,
        "after": event.after,
        "address": event.address,
        "agent": event.agent,
    }


class WorkspaceList(APIView):
    @extend_schema(request=NewWorkspace, responses={201: dict})
    def post(self, request: Request) -> Response:
        body = NewWorkspace(data=request.data)
        body.is_valid(raise_exception=True)
        user: User = request.user  # type: ignore[assignment]
        membership = create_workspace(user=user, name=body.validated_data["name"])
        return Response(workspace_json(membership.tenant), status=201)


class WorkspaceRestore(APIView):
    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Bring back a workspace of one's own within its days of grace."""
        user: User = request.user  # type: ignore[assignment]
        return Response(workspace_json(reopen_workspace(user=user, tenant_id=str(tenant_id))))


class WorkspaceDetail(WorkspaceView):
    needs = Act.CHANGE_SETTINGS

    @extend_schema(responses=WorkspaceSettings)
    def get(self, request: Request) -> Response:
        return Response(WorkspaceSettings(self.membership.tenant).data)

    @extend_schema(request=WorkspaceSettings, responses=WorkspaceSettings)
    def patch(self, request: Request) -> Response:
        """Change any of the settings; the others stay."""
        body = WorkspaceSettings(data=request.data, partial=True)
        body.is_valid(raise_exception=True)
        return Response(WorkspaceSettings(change_workspace(by=self.membership, **body.validated_data)).data)

    @extend_schema(request=Closing, responses={204: None})
    def delete(self, request: Request) -> Response:
        """Close it: nobody enters, and after the days of grace it is gone. Owners only."""
        close_workspace(by=self.membership, name=self.asked(Closing)["name"])
        return Response(status=204)


class AuditList(WorkspaceView):
    needs = Act.SEE_AUDIT

    @extend_schema(parameters=[AuditQuery], responses={200: dict})
    def get(self, request: Request) -> Response:
        """Newest first, 50 at a time. ``q``: the address of who acted; ``act``: the beginning of an act's name."""
        asked = self.query(AuditQuery)
        rows = AuditEvent.objects.filter(tenant_id=self.membership.tenant_id)
        if words := asked.get("q"):
            rows = rows.filter(actor_id__in=User.objects.filter(email__icontains=words).values("pk"))
        if act := asked.get("act"):
            rows = rows.filter(act__startswith=act)
        first = (asked["page"] - 1) * 50
        people = User.objects.in_bulk({event.actor_id for event in rows[first : first + 50] if event.actor_id})
        return self.page(rows, asked["page"], lambda event: event_json(event, people))
