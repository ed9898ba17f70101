from django.urls import path

from . import workspace_views as views

app_name = "workspace"
urlpatterns = [
    path("", views.general, name="general"),
    path("members/", views.members, name="members"),
    path("audit/", views.audit, name="audit"),
]
