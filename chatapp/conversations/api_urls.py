from django.urls import path

from . import api

app_name = "conversations"
urlpatterns = [
    path("conversations/", api.ConversationList.as_view(), name="list"),
    path("conversations/<uuid:conversation_id>/", api.ConversationDetail.as_view(), name="detail"),
    path("conversations/<uuid:conversation_id>/restore/", api.ConversationRestore.as_view(), name="restore"),
]
