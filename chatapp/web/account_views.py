"""The page of a person's account: all that is theirs to change, and its end."""

from __future__ import annotations

from allauth.account.decorators import reauthentication_required
from allauth.account.internal.flows.reauthentication import did_recently_reauthenticate
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.contrib.auth import logout
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import require_safe

from accounts.leaving import delete_account, held_workspaces
from accounts.models import Membership, User
from accounts.second_factor import has_second_factor
from chatapp.chat.models import Conversation
from chatapp.common.errors import BadRequest


@require_safe
@login_required
def account(request: HttpRequest) -> HttpResponse:
    user: User = request.user  # type: ignore[assignment]
    keys = Authenticator.objects.filter(user=user, type=Authenticator.Type.WEBAUTHN)
    context = {
        "preferences": user.preferences,
        "addresses": EmailAddress.objects.filter(user=user).count() or 1,
        "has_factor": has_second_factor(user),
        "passkeys": keys.count(),
        "sessions": UserSession.objects.filter(user=user).count(),
        "workspaces_count": Membership.objects.active().filter(user=user).count(),
    }
    return render(request, "web/settings_account.html", context)


@method_decorator(reauthentication_required, name="get")
class Deletion(View):
    """Asks once, and names what is lost. What was posted by who has not just said who they are is asked again."""

    http_method_names = ("get", "head", "post")

    def get(self, request: HttpRequest, status: int = 200) -> HttpResponse:
        user: User = request.user  # type: ignore[assignment]
        chats = Conversation.everyone.filter(user=user, deleted_at=None).count()
        context = {"chats": chats, "held": held_workspaces(user)}
        return render(request, "web/settings_account_delete.html", context, status=status)

    def post(self, request: HttpRequest) -> HttpResponse:
        if not did_recently_reauthenticate(request):
            return redirect("settings:delete_account")
        user: User = request.user  # type: ignore[assignment]
        try:
            delete_account(person=user)
        except BadRequest as error:
            return self.get(request, status=error.status)
        logout(request)
        return redirect("home")
