"""Ends the sockets of people who may no longer read: logged out elsewhere, suspended, removed, with another password,
without the second factor that their workspace asks for.

Two queries per process every two seconds, however many sockets it has: the database is what all processes share.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import Exists, FilteredRelation, Q
from django.utils import timezone

from accounts.models import Membership, User
from accounts.second_factor import having_factor
from chatapp.common.threads import in_thread
from chatapp.common.watch import Watch

LOGGED_OUT, SUSPENDED, NO_WORKSPACE, NEW_PASSWORD = 4401, 4403, 4404, 4409  # close codes of docs/protocol.md
NO_SECOND_FACTOR = 4410
LOOK_SECONDS = 2.0  # the promise is five

End = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Login:
    """What a socket was opened with. ``password`` is the hash: a session does not outlive a change of it."""

    session: str
    user: UUID
    password: str
    workspace: str

    @classmethod
    def of(cls, membership: Membership, session: str) -> Login:
        return cls(session, membership.user_id, membership.user.password, membership.tenant.slug)

    def find_membership(self) -> Membership | None:
        """As ``get_membership``, while all of this still holds. One query."""
        session = Session.objects.filter(pk=self.session, expire_date__gt=timezone.now())
        rows = Membership.objects.active().select_related("tenant__plan", "user__chosen")
        rows = rows.filter(Q(tenant__requires_mfa=False) | having_factor("user"))
        user = {"user": self.user, "user__password": self.password}
        found: Membership | None = rows.filter(Exists(session), **user, tenant__slug=self.workspace).first()
        return found


@dataclass(frozen=True, slots=True)
class Account:
    """What may end the logins of one person."""

    password: str
    is_active: bool
    workspaces: set[str]
    guarded: set[str]  # of these those that ask for a second factor, which the person does not have


def find_ended(logins: Iterable[Login]) -> dict[Login, int]:
    """Those that hold no more, with the close code that says why. Two queries."""
    logins = set(logins)
    sessions = _living_sessions({login.session for login in logins})
    accounts = _accounts({login.user for login in logins})
    found = {login: _why_ended(login, accounts.get(login.user), login.session in sessions) for login in logins}
    return {login: code for login, code in found.items() if code is not None}


def _why_ended(login: Login, account: Account | None, has_session: bool) -> int | None:
    """What was done to the account before what was done to the session: the one may have brought the other about."""
    if account is None:
        return LOGGED_OUT
    if not account.is_active:
        return SUSPENDED
    if account.password != login.password:
        return NEW_PASSWORD
    if not has_session:
        return LOGGED_OUT
    if login.workspace in account.guarded:
        return NO_SECOND_FACTOR
    return None if login.workspace in account.workspaces else NO_WORKSPACE


def why_logged_out(user_id: str | None) -> int:
    """The close code for a session of this person that is nobody's now: by what became of the account. One query."""
    user = User.objects.filter(pk=user_id).first() if user_id else None
    if user is None:
        return LOGGED_OUT
    return NEW_PASSWORD if user.is_active else SUSPENDED


def _living_sessions(keys: set[str]) -> set[str]:
    living = Session.objects.filter(pk__in=keys, expire_date__gt=timezone.now())
    return set(living.values_list("pk", flat=True))


def _accounts(users: set[UUID]) -> dict[UUID, Account]:
    inside = FilteredRelation("memberships", condition=Q(memberships__suspended_at=None))
    rows = User.objects.filter(pk__in=users).annotate(inside=inside, has_factor=having_factor("pk")).order_by()
    accounts: dict[UUID, Account] = {}
    of = "inside__tenant__"
    names = ("has_factor", f"{of}slug", f"{of}requires_mfa", f"{of}deleted_at", f"{of}is_active")
    for user, password, active, has, slug, guarded, *closed in rows.values_list("pk", "password", "is_active", *names):
        account = accounts.setdefault(user, Account(password, active, set(), set()))
        if closed == [None, True]:
            (account.guarded if guarded and not has else account.workspaces).add(slug)
    return accounts


class LoginWatch(Watch[End, Login]):
    """Calls the listeners of logins that have ended with their close code, each once."""

    def seconds(self) -> float:
        return LOOK_SECONDS

    async def look(self) -> None:
        if not self._listeners:
            return
        ended = await in_thread(find_ended)(list(self._listeners.values()))
        for end, login in list(self._listeners.items()):
            if login in ended:
                self.remove(end)
                self._start(end(ended[login]))


login_watch = LoginWatch()
