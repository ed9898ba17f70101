"""What lies below /v1/. Wiring only."""

from django.urls import path

from . import views

app_name = "v1"
urlpatterns = [
    path("models", views.models, name="models"),
    path("models/<path:name>", views.model, name="model"),
    path("chat/completions", views.chat_completions, name="chat_completions"),
    path("<path:rest>", views.unknown, name="unknown"),
]
