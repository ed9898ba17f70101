"""Ends the sockets of people who may no longer read: logged out elsewhere, suspended, removed, with another password.

Two queries per process every two seconds, however many sockets it has: the database is what all processes share.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from uuid import UUID

from django.contrib.sessions.models import Session
from django.db.models import Exists, FilteredRelation, Q
from django.utils import timezone

from accounts.models import Membership, User
from chatapp.common.threads import in_thread
from chatapp.common.watch import Watch

LOGGED_OUT, NO_WORKSPACE = 4401, 4404  # close codes of docs/protocol.md
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
        user = {"user": self.user, "user__password": self.password}
        found: Membership | None = rows.filter(Exists(session), **user, tenant__slug=self.workspace).first()
        return found


def find_ended(logins: Iterable[Login]) -> dict[Login, int]:
    """Those that hold no more, with the close code that says why. Two queries."""
    logins = set(logins)
    sessions = _living_sessions({login.session for login in logins})
    places = _places({login.user for login in logins})
    ended = {}
    for login in logins:
        workspaces = places.get((login.user, login.password))
        if login.session not in sessions or workspaces is None:
            ended[login] = LOGGED_OUT
        elif login.workspace not in workspaces:
            ended[login] = NO_WORKSPACE
    return ended


def _living_sessions(keys: set[str]) -> set[str]:
    living = Session.objects.filter(pk__in=keys, expire_date__gt=timezone.now())
    return set(living.values_list("pk", flat=True))


def _places(users: set[UUID]) -> dict[tuple[UUID, str], set[str]]:
    """The workspaces of everyone who may log in, by person and password."""
    inside = FilteredRelation("memberships", condition=Q(memberships__suspended_at=None))
    rows = User.objects.filter(pk__in=users, is_active=True).annotate(inside=inside).order_by()
    places: dict[tuple[UUID, str], set[str]] = defaultdict(set)
    names = ("pk", "password", "inside__tenant__slug", "inside__tenant__deleted_at", "inside__tenant__is_active")
    for user, password, slug, deleted_at, is_active in rows.values_list(*names):
        places[user, password] |= {slug} if is_active and deleted_at is None else set()
    return places


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
