from django.urls import path

from . import account_views, workspace_views
from . import settings_views as views

app_name = "settings"
urlpatterns = [
    path("", views.general, name="general"),
    path("account/", account_views.account, name="account"),
    path("account/delete/", account_views.Deletion.as_view(), name="delete_account"),
    path("personalization/", views.personalization, name="personalization"),
    path("usage/", views.usage, name="usage"),
    path("workspaces/", workspace_views.workspaces, name="workspaces"),
]
