from django.urls import path

from . import settings_views as views
from . import workspace_views

app_name = "settings"
urlpatterns = [
    path("", views.general, name="general"),
    path("personalization/", views.personalization, name="personalization"),
    path("usage/", views.usage, name="usage"),
    path("workspaces/", workspace_views.workspaces, name="workspaces"),
]
