"""The table of the admin: what its lists and forms are to platform staff, and that they are nothing to anybody else.

``super`` has every right, ``staff`` may enter and has no other right, ``member`` owns a workspace.
"""

from __future__ import annotations

import re

from allauth.account.models import EmailAddress
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from accounts.audit import record_act
from accounts.models import Erasure, LedgerEntry
from accounts.quotas import today
from chatapp.queue.models import OfferedModel
from feedback.models import DailyRating
from tests.doors.door import columns
from tests.doors.world import World, logged_in
from tests.factories import ApiKeyFactory, UserFactory

MODELS = {
    "account/emailaddress": "edited",
    "accounts/user": "edited",
    "accounts/tenant": "edited",
    "accounts/membership": "edited",
    "accounts/plan": "edited",
    "accounts/apikey": "kept",
    "accounts/auditevent": "read",
    "accounts/domain": "edited",
    "accounts/invitation": "read",
    "accounts/invitelink": "read",
    "accounts/usageday": "read",
    "accounts/ledgerentry": "read",
    "accounts/erasure": "read",
    "chat/conversation": "read",
    "chat/generation": "read",
    "queue/offeredmodel": "edited",
    "feedback/rating": "read",
    "feedback/dailyrating": "read",
}
VIEWS = ("", "add/", "<path:object_id>/change/", "<path:object_id>/delete/", "<path:object_id>/history/")

# To ``super``; POST where it is refused.
KINDS = columns("""
          list  add  change  delete  history  POST-add  POST-change  POST-delete
edited    200   200  200     200     200      -         -            -
kept      200   200  200     403     200      -         -            403
read      200   403  200     403     200      403       403          403
""")

# GET at what is not a model's.
PAGES = columns("""
                                        super    staff    member        anonymous
admin/                                  200      200      admin-log-in  admin-log-in
admin/login/                            /admin/  /admin/  403           /accounts/login/?next=%2Fadmin%2Flogin%2F
admin/logout/                           405      405      /admin/       /admin/
admin/password_change/                  200      200      admin-log-in  admin-log-in
admin/password_change/done/             200      200      admin-log-in  admin-log-in
admin/autocomplete/                     403      403      admin-log-in  admin-log-in
admin/jsi18n/                           200      200      admin-log-in  admin-log-in
admin/search/                           200      200      admin-log-in  admin-log-in
admin/r/<path:rest>                     404      404      404           404
admin/r/<path:content_type_id>/<path:object_id>/  404  404  404         404
admin/accounts/user/<id>/password/      200      403      admin-log-in  admin-log-in
admin/^(?P<app_label>account|accounts|chat|feedback|queue)/$  200  404  admin-log-in  admin-log-in
admin/(?P<url>.*)$                      404      404      admin-log-in  admin-log-in
""")


def callers(world: World) -> dict[str, Client]:
    anonymous, member, superuser = (world.clients[who] for who in ("anonymous", "owner", "staff"))
    return {
        "super": superuser,
        "staff": logged_in(UserFactory(is_staff=True)),
        "member": member,
        "anonymous": anonymous,
    }


def one_of(model: type[Model], world: World) -> Model:
    """A row of the owner's workspace, or of the owner; of a plan."""
    owner = world.memberships["owner"]
    rows = model._base_manager.all()
    for field in model._meta.get_fields():
        if field.name in ("tenant", "user"):
            rows = rows.filter(**{field.name: getattr(owner, field.name)})
    return rows[0]


def make_missing(world: World) -> None:
    """Rows that chatting alone has not made."""
    owner = world.memberships["owner"]
    run = {"tenant": owner.tenant, "model": "test", "day": today()}
    ApiKeyFactory(membership=owner)
    OfferedModel.objects.create(name="zebra")
    record_act("workspace.changed", tenant=owner.tenant_id, actor=owner.user_id)
    EmailAddress.objects.create(user=owner.user, email=owner.user.email, primary=True)
    Erasure.objects.create()  # of somebody who is gone
    LedgerEntry.everyone.create(
        **run, generation_id=world.owners.generation, user=owner.user, prompt_tokens=1, output_tokens=1
    )
    counts = dict.fromkeys(("answers", "rated", "up", "down"), 1)
    DailyRating.everyone.create(**run, **counts, prompt_version="test", updated_at=timezone.now())


def in_order(route: str) -> str:
    """The route with its choice of apps in order: the admin takes it from a set."""
    return re.sub(r"(?<=app_label>)[^)]*", lambda apps: "|".join(sorted(apps[0].split("|"))), route)


def page_path(route: str, world: World) -> str:
    """An address of the route, that names things of the owner where it names any."""
    names = {
        "<path:content_type_id>": ContentType.objects.get_by_natural_key("chat", "conversation").pk,
        "<path:object_id>": world.owners.conversation,
        "<path:rest>": "nowhere",
        "<id>": world.memberships["owner"].user_id,
        "^(?P<app_label>account|accounts|chat|feedback|queue)/$": "accounts/",
        "(?P<url>.*)$": "nowhere",
    }
    for variable, value in names.items():
        route = route.replace(variable, str(value))
    return f"/{route}"
