from django.urls import path

from . import chat_views

app_name = "chat"
urlpatterns = [
    path("", chat_views.new, name="new"),
    path("<uuid:conversation_id>/", chat_views.chat, name="conversation"),
]
