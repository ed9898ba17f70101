from django.urls import path

from . import views

app_name = "conversations"
urlpatterns = [
    path("", views.new, name="new"),
    path("<uuid:conversation_id>/", views.chat, name="chat"),
]
