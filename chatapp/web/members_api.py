"""Members of a workspace over REST: list, search, change role, suspend, remove, hand on; and to leave."""

from __future__ import annotations

from typing import Any

from django.db.models import Q
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.members import (
    change_role,
    leave_workspace,
    remove_member,
    restore_member,
    suspend_member,
    transfer_workspace,
)
from accounts.models import Membership, Role
from accounts.models.people import Act
from chatapp.common.errors import BadRequest
from chatapp.common.serializers import FlagField, Strict, WordField

from .workspace_view import ListQuery, WorkspaceView


class MemberQuery(ListQuery):
    role = serializers.ChoiceField(choices=Role.choices, required=False)
    suspended = serializers.BooleanField(required=False, allow_null=True, default=None)


class MemberChange(Strict):
    """Another role, or whether the person may enter."""

    role = WordField(choices=Role.choices, required=False)
    suspended = FlagField(required=False)


def member_json(member: Membership) -> dict[str, Any]:
    return {
        "id": member.pk,
        "name": member.user.name,
        "email": member.user.email,
        "role": member.role,
        "suspended": member.suspended_at is not None,
        "joined": member.created_at.isoformat(),
    }


class MemberList(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(parameters=[MemberQuery], responses={200: dict})
    def get(self, request: Request) -> Response:
        """By address, 50 at a time. ``q`` is looked for in names and addresses."""
        asked = self.query(MemberQuery)
        rows = Membership.objects.filter(tenant=self.membership.tenant_id).select_related("user__chosen")
        if words := asked.get("q"):
            rows = rows.filter(Q(user__email__icontains=words) | Q(user__chosen__display_name__icontains=words))
        if role := asked.get("role"):
            rows = rows.filter(role=role)
        if (suspended := asked["suspended"]) is not None:
            rows = rows.filter(suspended_at__isnull=not suspended)
        return self.page(rows.order_by("user__email", "pk"), asked["page"], member_json)


class MemberDetail(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(request=MemberChange, responses={200: dict})
    def patch(self, request: Request, member_id: int) -> Response:
        asked = self.asked(MemberChange)
        if len(asked) != 1:
            raise BadRequest("Change either the role or whether they are suspended.")
        if "role" in asked:
            return Response(member_json(change_role(by=self.membership, member_id=member_id, role=asked["role"])))
        change = suspend_member if asked["suspended"] else restore_member
        return Response(member_json(change(by=self.membership, member_id=member_id)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, member_id: int) -> Response:
        remove_member(by=self.membership, member_id=member_id)
        return Response(status=204)


class MemberOwner(WorkspaceView):
    needs = Act.TRANSFER

    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, member_id: int) -> Response:
        """Hand the workspace on to this member; the caller becomes an admin."""
        return Response(member_json(transfer_workspace(by=self.membership, member_id=member_id)))


class OwnPlace(WorkspaceView):
    needs_second_factor = False  # to leave

    @extend_schema(responses={204: None})
    def delete(self, request: Request) -> Response:
        """Leave the workspace."""
        leave_workspace(membership=self.membership)
        return Response(status=204)
