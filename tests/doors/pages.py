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
managers    ok       ok       403      403      404      404      log-in
owners      ok       403      403      403      404      404      log-in
leave       400      ok       ok       ok       404      404      log-in
joining     to-its   to-its   to-its   to-its   ok       ok       200
nobody      403      403      403      403      404      404      log-in
missing-in  404      404      404      404      404      404      log-in
again       again    again    again    again    again    again    log-in-then
ask-first   asked    asked    asked    asked    asked    asked    asked
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
MANAGED = "w/<slug:workspace>/settings/"
WORKSPACE = "api/v1/w/<slug:workspace>/"
MEMBER = f"{WORKSPACE}members/<int:member_id>/"
WORKSPACES = "api/v1/workspaces/"
INVITATIONS, LINKS, DOMAINS = f"{WORKSPACE}invitations/", f"{WORKSPACE}links/", f"{WORKSPACE}domains/"
INVITATION = f"{WORKSPACE}invitations/<uuid:invitation_id>/"
LIVE, DELETED = {"conversation_id": "live_conversation"}, {"conversation_id": "deleted"}

PLACE = ("Membership", "AuditEvent")

DOORS = (
    Door("GET", "", "home"),
    Door("GET", SETTINGS, "personal"),
    Door("GET", f"{SETTINGS}personalization/", "personal"),
    Door("GET", f"{SETTINGS}account/", "personal"),
    Door("GET", f"{SETTINGS}account/delete/", "again"),
    Door("POST", f"{SETTINGS}account/delete/", "ask-first"),
    Door("GET", f"{SETTINGS}usage/", "personal"),
    Door("GET", f"{SETTINGS}usage/", "personal", query="?workspace={workspace}"),
    Door("GET", f"{SETTINGS}workspaces/", "personal"),
    Door("GET", f"{MANAGED}", "managers"),
    Door("GET", f"{MANAGED}members/", "managers"),
    Door("GET", f"{MANAGED}audit/", "owners"),
    Door("POST", "join/domain/<uuid:domain_id>/", "missing-in"),
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
    Door("POST", WORKSPACES, "personal", 201, body={"name": "Acme"}, changes={"Tenant", *PLACE}, once=True),
    Door("POST", "api/v1/workspaces/<uuid:tenant_id>/restore/", "missing-in"),
    Door("GET", WORKSPACE, "managers"),
    Door("PATCH", WORKSPACE, "managers", body={"welcome": "Hi"}, changes={"Tenant", "AuditEvent"}, once=True),
    Door("DELETE", WORKSPACE, "owners", 204, body={"name": "{name}"}, changes={"Tenant", "AuditEvent"}, once=True),
    Door("GET", f"{WORKSPACE}audit/", "owners"),
    Door("DELETE", f"{WORKSPACE}me/", "leave", 204, changes=set(PLACE), once=True),
    Door("GET", f"{WORKSPACE}members/", "managers"),
    Door("PATCH", MEMBER, "managers", body={"role": "member"}, changes=set(PLACE), once=True),
    Door("PATCH", MEMBER, "managers", body={"suspended": True}, changes=set(PLACE), once=True),
    Door("DELETE", MEMBER, "managers", 204, changes=set(PLACE), once=True),
    Door("POST", f"{MEMBER}owner/", "owners", changes=set(PLACE), once=True),
    Door("GET", INVITATIONS, "managers"),
    Door(
        *("POST", INVITATIONS, "managers", 201),
        body={"emails": ["a@example.com"]},
        changes={"Invitation", "AuditEvent"},
        once=True,
    ),
    Door("DELETE", INVITATION, "managers", 204, changes={"Invitation", "AuditEvent"}, once=True),
    Door("POST", f"{INVITATION}again/", "managers", changes={"Invitation", "AuditEvent"}, once=True),
    Door("GET", LINKS, "managers"),
    Door("POST", LINKS, "managers", 201, body={"limit": 3}, changes={"InviteLink", "AuditEvent"}, once=True),
    Door(
        "DELETE", f"{WORKSPACE}links/<uuid:link_id>/", "managers", 204, changes={"InviteLink", "AuditEvent"}, once=True
    ),
    Door("GET", DOMAINS, "managers"),
    Door("POST", DOMAINS, "nobody", body={"name": "unproven.example"}),
    Door(
        "DELETE", f"{WORKSPACE}domains/<uuid:domain_id>/", "managers", 204, changes={"Domain", "AuditEvent"}, once=True
    ),
    Door("GET", "join/<str:token>/", "joining"),
    Door("POST", "join/<str:token>/", "joining", "to-its", changes={*PLACE, "InviteLink"}, once=True),
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
