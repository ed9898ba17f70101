"""The REST API behind the pages. Wiring only."""

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from . import conversations_api, preferences_api

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
    path("w/<slug:workspace>/", include("feedback.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]
