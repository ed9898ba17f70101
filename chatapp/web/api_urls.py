"""The REST API behind the pages. Wiring only."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from . import conversations_api, invitations_api, members_api, preferences_api, workspaces_api

app_name = "api"
urlpatterns = [
    path("me/preferences/", preferences_api.PreferencesView.as_view(), name="preferences"),
    path("w/<slug:workspace>/conversations/", conversations_api.ConversationList.as_view(), name="conversations"),
    path(
        "w/<slug:workspace>/conversations/<uuid:conversation_id>/",
        conversations_api.ConversationDetail.as_view(),
        name="conversation",
    ),
    path(
        "w/<slug:workspace>/conversations/<uuid:conversation_id>/restore/",
        conversations_api.ConversationRestore.as_view(),
        name="restore",
    ),
    path("workspaces/", workspaces_api.WorkspaceList.as_view(), name="workspaces"),
    path("workspaces/<uuid:tenant_id>/restore/", workspaces_api.WorkspaceRestore.as_view(), name="restore_workspace"),
    path("w/<slug:workspace>/", workspaces_api.WorkspaceDetail.as_view(), name="workspace"),
    path("w/<slug:workspace>/audit/", workspaces_api.AuditList.as_view(), name="audit"),
    path("w/<slug:workspace>/me/", members_api.OwnPlace.as_view(), name="own_place"),
    path("w/<slug:workspace>/members/", members_api.MemberList.as_view(), name="members"),
    path("w/<slug:workspace>/members/<int:member_id>/", members_api.MemberDetail.as_view(), name="member"),
    path("w/<slug:workspace>/members/<int:member_id>/owner/", members_api.MemberOwner.as_view(), name="owner"),
    path("w/<slug:workspace>/invitations/", invitations_api.InvitationList.as_view(), name="invitations"),
    path(
        "w/<slug:workspace>/invitations/<uuid:invitation_id>/",
        invitations_api.InvitationDetail.as_view(),
        name="invitation",
    ),
    path(
        "w/<slug:workspace>/invitations/<uuid:invitation_id>/again/",
        invitations_api.InvitationAgain.as_view(),
        name="invitation_again",
    ),
    path("w/<slug:workspace>/links/", invitations_api.LinkList.as_view(), name="links"),
    path("w/<slug:workspace>/links/<uuid:link_id>/", invitations_api.LinkDetail.as_view(), name="link"),
    path("w/<slug:workspace>/domains/", invitations_api.DomainList.as_view(), name="domains"),
    path("w/<slug:workspace>/domains/<uuid:domain_id>/", invitations_api.DomainDetail.as_view(), name="domain"),
    path("w/<slug:workspace>/", include("feedback.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]
