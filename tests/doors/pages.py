"""The table of pages and REST: what each caller is told at each door, and what that writes.

Platform staff have every right in the admin, and are strangers to every workspace.
"""

from __future__ import annotations

from tests.doors.door import Door, columns

RULES = columns("""
            owner    admin    analyst  member   stranger staff    anonymous
public      ok       ok       ok       ok       ok       ok       ok
personal    ok       ok       ok       ok       ok       ok       log-in
members     ok       ok       ok       ok       404      404      log-in
reports     ok       ok       ok       403      404      404      log-in
owner       ok       404      404      404      404      404      log-in
home        to-chat  to-chat  to-chat  to-chat  to-chat  ok       ok
missing     404      404      404      404      404      404      404
operator    401      401      401      401      401      401      401
""")

SETTINGS = "settings/"
CHAT = "w/<slug:workspace>/chat/"
REPORT = "w/<slug:workspace>/reports/"
PREFERENCES = "api/v1/me/preferences/"
CONVERSATIONS = "api/v1/w/<slug:workspace>/conversations/"
CONVERSATION = f"{CONVERSATIONS}<uuid:conversation_id>/"
RATING = "api/v1/w/<slug:workspace>/messages/<uuid:message_id>/rating/"
LIVE, DELETED = {"conversation_id": "live_conversation"}, {"conversation_id": "deleted"}

DOORS = (
    Door("GET", "", "home"),
    Door("GET", SETTINGS, "personal"),
    Door("GET", f"{SETTINGS}personalization/", "personal"),
    Door("GET", f"{SETTINGS}usage/", "personal"),
    Door("GET", f"{SETTINGS}usage/", "personal", query="?workspace={workspace}"),
    Door("GET", CHAT, "members"),
    Door("GET", f"{CHAT}<uuid:conversation_id>/", "owner"),
    Door("GET", REPORT, "reports"),
    Door("GET", f"{REPORT}export.csv", "reports"),
    Door("GET", PREFERENCES, "personal"),
    Door("PATCH", PREFERENCES, "personal", body={"theme": "dark"}, changes={"Preferences"}),
    Door("GET", CONVERSATIONS, "members"),
    Door("GET", CONVERSATION, "owner"),
    Door("PATCH", CONVERSATION, "owner", body={"title": "Mine"}, changes={"Conversation"}),
    Door("PATCH", CONVERSATION, "owner", body={"leaf": "{sibling}"}, changes={"Conversation"}),
    Door("DELETE", CONVERSATION, "owner", ok=204, changes={"Conversation"}),
    Door("DELETE", CONVERSATION, "owner", ok=204, using=LIVE, changes={"Conversation", "logs"}),
    Door("POST", f"{CONVERSATION}restore/", "owner", using=DELETED, changes={"Conversation"}),
    Door("PUT", RATING, "owner", body={"value": -1}, changes={"Rating", "RatingEvent"}),
    Door("DELETE", RATING, "owner", ok=204, changes={"Rating", "RatingEvent"}),
    Door("GET", "api/v1/schema/", "personal"),
    Door("GET", "healthz", "public"),
    Door("GET", "readyz", "public"),
    Door("GET", "metrics", "operator"),
)

# In a workspace and at a thing of one's own, naming a thing of somebody else.
NAMING_OTHERS = (
    Door("PATCH", CONVERSATION, "missing", body={"leaf": "{answer}"}),
    Door("PATCH", CONVERSATION, "missing", body={"title": "Mine", "leaf": "{answer}"}),
)
