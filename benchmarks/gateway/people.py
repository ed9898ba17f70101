"""Fills a product's database with people who are logged in: ``python -m benchmarks.gateway.people NUMBER``.

Run with the product's environment. All of them are members of one workspace, on a plan with every limit set and none
in the way; each has a conversation. Prints the workspace, its API key and everybody's session as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import django

PLAN = {"requests_per_minute": 100_000, "tokens_per_day": 1_000_000_000, "concurrent_answers": 5_000}
PLAN |= {"max_output_tokens": 4_096, "longest_wait": 600, "weight": 4, "position": 9}


def create_people(number: int) -> dict[str, Any]:
    from accounts.models import ApiKey, Membership, Plan, Role, Tenant, User

    plan = Plan.objects.create(code="gateway", name="Gateway", **PLAN)
    tenant = Tenant.objects.create(name="Gateway", slug="gateway", plan=plan)
    users = User.objects.bulk_create(User(email=f"p{n}@example.com", password="!") for n in range(number))
    Membership.objects.bulk_create(Membership(user=user, tenant=tenant, role=Role.MEMBER) for user in users)
    key = ApiKey(tenant=tenant, user=users[0], name="Gateway")
    secret = key.draw_secret()
    key.save()
    return {"slug": tenant.slug, "key": secret, "people": [_log_in(tenant, user) for user in users]}


def _log_in(tenant: Any, user: Any) -> dict[str, str]:
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.sessions.backends.db import SessionStore

    from chatapp.chat.models import Conversation

    session = SessionStore()
    session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), settings.AUTHENTICATION_BACKENDS[0]
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.create()
    conversation = Conversation.everyone.create(tenant=tenant, user=user, title="Gateway")
    return {"session": str(session.session_key), "conversation": str(conversation.pk)}


if __name__ == "__main__":
    django.setup()
    print(json.dumps(create_people(int(sys.argv[1]))))
