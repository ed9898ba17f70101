"""Addresses. Wiring only."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import include, path

from chatapp.v1.views import unknown
from chatapp.web import chat_views, error_responses, joining_views
from chatapp.web.sessions_view import Sessions

# The admin's own form knows nothing of allauth's limits on guessing.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", chat_views.home, name="home"),
    path("accounts/sessions/", Sessions.as_view(), name="usersessions_list"),
    path("accounts/", include("allauth.urls")),
    path("join/<str:token>/", joining_views.Join.as_view(), name="join"),
    path("settings/", include("chatapp.web.settings_urls")),
    path("w/<slug:workspace>/chat/", include("chatapp.web.chat_urls")),
    path("join/domain/<uuid:domain_id>/", joining_views.join_domain, name="join_domain"),
    path("w/<slug:workspace>/settings/", include("chatapp.web.workspace_urls")),
    path("w/<slug:workspace>/reports/", include("feedback.urls")),
    path("api/v1/", include("chatapp.web.api_urls")),
    path("v1", unknown),
    path("v1/", include("chatapp.v1.urls")),
    path("admin/r/<path:rest>", error_responses.nothing),  # the admin's own way to any object asks for no right
    path("admin/", admin.site.urls),
    path("", include("chatapp.ops.urls")),
]

handler400 = error_responses.bad_request
handler403 = error_responses.forbidden
handler404 = error_responses.not_found
handler500 = error_responses.server_error
