"""What lies at /v1 and below. Wiring only."""

from django.urls import path

from . import views

app_name = "v1"
urlpatterns = [
    path("", views.unknown, name="root"),
    path("models", views.models, name="models"),
    path("models/<path:name>", views.model, name="model"),
    path("chat/completions", views.chat_completions, name="chat_completions"),
    path("<path:rest>", views.unknown, name="unknown"),
]
