"""The page behind an invitation's or a link's address: what it is to, and the person's word that they want it."""

from __future__ import annotations

from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from accounts.joining import accept_invitation, decline_invitation, find_way, join_by_domain, join_by_link
from accounts.models import Domain, Invitation, InviteLink, Membership, User
from chatapp.common.errors import ChatappError, NotFound


@method_decorator(never_cache, name="dispatch")
class Join(View):
    """Public: an address that opens nothing says so, to anybody, in the same words."""

    http_method_names = ("get", "head", "post")

    def get(self, request: HttpRequest, token: str) -> HttpResponse:
        way = find_way(token)
        if way is None or way.state != "open":
            return _page(request, way, status=404)
        if not request.user.is_authenticated:
            return _page(request, way)
        user: User = request.user
        inside = Membership.objects.active().filter(user=user, tenant=way.tenant).exists()
        return redirect(way.tenant) if inside else _page(request, way)

    def post(self, request: HttpRequest, token: str) -> HttpResponse:
        way = find_way(token)
        if way is None or not request.user.is_authenticated:
            return self.get(request, token)
        user: User = request.user
        try:
            if "decline" in request.POST and isinstance(way, Invitation):
                decline_invitation(user=user, invitation=way)
                return redirect("home")
            membership = (
                accept_invitation(user=user, invitation=way)
                if isinstance(way, Invitation)
                else join_by_link(user=user, link=way)
            )
        except ChatappError as error:
            return _page(request, way, trouble=error.message, status=error.status)
        return redirect(membership.tenant)


@require_POST
@login_required
def join_domain(request: HttpRequest, domain_id: UUID) -> HttpResponse:
    """Join the workspace that an address of one's own opens."""
    user: User = request.user  # type: ignore[assignment]
    domain = Domain.everyone.filter(pk=domain_id, tenant__deleted_at=None).select_related("tenant").first()
    try:
        if domain is None:
            raise NotFound
        return redirect(join_by_domain(user=user, domain=domain).tenant)
    except NotFound:
        return render(request, "404.html", status=404)


def _page(
    request: HttpRequest, way: Invitation | InviteLink | None, *, trouble: str = "", status: int = 200
) -> HttpResponse:
    context = {"way": way, "is_open": way is not None and way.state == "open", "trouble": trouble}
    return render(request, "web/join.html", context, status=status)
