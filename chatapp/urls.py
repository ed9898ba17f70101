"""Addresses. Wiring only."""

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from accounts import api as accounts_api
from chatapp.conversations import views as conversation_views
from chatapp.ops import views as ops_views

# The admin's own form knows nothing of allauth's limits on guessing.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

api: list[URLPattern | URLResolver] = [
    path("me/preferences/", accounts_api.PreferencesView.as_view(), name="preferences"),
    path("w/<slug:workspace>/", include("chatapp.conversations.api_urls")),
    path("w/<slug:workspace>/", include("feedback.api_urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
]

urlpatterns = [
    path("", conversation_views.home, name="home"),
    path("accounts/", include("allauth.urls")),
    path("settings/", include("accounts.urls")),
    path("w/<slug:workspace>/chat/", include("chatapp.conversations.urls")),
    path("w/<slug:workspace>/reports/", include("feedback.urls")),
    path("api/v1/", include((api, "api"))),
    path("v1/", include("chatapp.openai_api.urls")),
    path("admin/", admin.site.urls),
    path("healthz", ops_views.healthz),
    path("readyz", ops_views.readyz),
    path("metrics", ops_views.metrics),
]

handler400 = ops_views.bad_request
handler403 = ops_views.forbidden
handler404 = ops_views.not_found
handler500 = ops_views.server_error
