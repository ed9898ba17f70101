"""Ways into a workspace over REST: invitations, links, domains."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.inviting import (
    MOST_AT_ONCE,
    add_domain,
    create_link,
    invite_people,
    remove_domain,
    resend_invitation,
    revoke_invitation,
    revoke_link,
)
from accounts.models import Domain, Invitation, InviteLink, Role
from accounts.models.invitations import LINK_DAYS
from accounts.models.people import Act
from chatapp.common.serializers import LineField, NumberField, Strict, WordField

from .workspace_view import ListQuery, WorkspaceView

JOINING = [(role.value, role.label) for role in Role if role is not Role.OWNER]


class InvitationsBody(Strict):
    emails = serializers.ListField(child=serializers.EmailField(max_length=254), min_length=1, max_length=MOST_AT_ONCE)
    role = WordField(choices=JOINING, default=Role.MEMBER)


class LinkBody(Strict):
    role = WordField(choices=JOINING, default=Role.MEMBER)
    limit = NumberField(min_value=1, max_value=100_000, allow_null=True, default=None)
    days = NumberField(min_value=1, max_value=365, default=LINK_DAYS)


class DomainBody(Strict):
    name = LineField(max_length=200)
    role = WordField(choices=JOINING, default=Role.MEMBER)


def invitation_json(invitation: Invitation) -> dict[str, Any]:
    return {
        "id": str(invitation.pk),
        "email": invitation.email,
        "role": invitation.role,
        "state": invitation.state,
        "by": invitation.created_by.name if invitation.created_by else None,
        "sent": invitation.sent_at.isoformat(),
        "expires": invitation.expires_at.isoformat(),
    }


def link_json(link: InviteLink) -> dict[str, Any]:
    return {
        "id": str(link.pk),
        "url": settings.CHATAPP_BASE_URL + reverse("join", args=[link.token]),
        "role": link.role,
        "limit": link.limit,
        "used": link.used,
        "state": link.state,
        "expires": link.expires_at.isoformat(),
    }


def domain_json(domain: Domain) -> dict[str, Any]:
    return {"id": str(domain.pk), "name": domain.name, "role": domain.role}


class InvitationList(WorkspaceView):
    needs = Act.INVITE

    @extend_schema(parameters=[ListQuery], responses={200: dict})
    def get(self, request: Request) -> Response:
        """Those that are open or have expired, newest first; who may only invite sees their own."""
        asked = self.query()
        rows = Invitation.objects.filter(accepted_at=None, declined_at=None, revoked_at=None)
        if not self.membership.can(Act.MANAGE_MEMBERS):
            rows = rows.filter(created_by=self.membership.user)
        if words := asked.get("q"):
            rows = rows.filter(email__icontains=words)
        return self.page(rows.select_related("created_by__chosen"), asked["page"], invitation_json)

    @extend_schema(request=InvitationsBody, responses={201: dict})
    def post(self, request: Request) -> Response:
        """Invite addresses. Those that are members, or invited already, are left out of the reply."""
        asked = self.asked(InvitationsBody)
        made = invite_people(by=self.membership, emails=asked["emails"], role=asked["role"])
        return Response({"results": [invitation_json(invitation) for invitation in made]}, status=201)


class InvitationDetail(WorkspaceView):
    needs = Act.INVITE

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        revoke_invitation(by=self.membership, invitation_id=str(invitation_id))
        return Response(status=204)


class InvitationAgain(WorkspaceView):
    needs = Act.INVITE

    @extend_schema(request=None, responses={200: dict})
    def post(self, request: Request, invitation_id: UUID) -> Response:
        """Mail it again, with another link."""
        return Response(invitation_json(resend_invitation(by=self.membership, invitation_id=str(invitation_id))))


class LinkList(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(responses={200: dict})
    def get(self, request: Request) -> Response:
        """Those that let somebody in, newest first."""
        return Response({"results": [link_json(link) for link in InviteLink.objects.open()]})

    @extend_schema(request=LinkBody, responses={201: dict})
    def post(self, request: Request) -> Response:
        return Response(link_json(create_link(by=self.membership, **self.asked(LinkBody))), status=201)


class LinkDetail(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(responses={204: None})
    def delete(self, request: Request, link_id: UUID) -> Response:
        revoke_link(by=self.membership, link_id=str(link_id))
        return Response(status=204)


class DomainList(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(responses={200: dict})
    def get(self, request: Request) -> Response:
        return Response({"results": [domain_json(domain) for domain in Domain.objects.all()]})

    @extend_schema(request=DomainBody, responses={201: dict})
    def post(self, request: Request) -> Response:
        return Response(domain_json(add_domain(by=self.membership, **self.asked(DomainBody))), status=201)


class DomainDetail(WorkspaceView):
    needs = Act.MANAGE_MEMBERS

    @extend_schema(responses={204: None})
    def delete(self, request: Request, domain_id: UUID) -> Response:
        remove_domain(by=self.membership, domain_id=str(domain_id))
        return Response(status=204)
