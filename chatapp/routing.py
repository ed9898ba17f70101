"""WebSocket addresses. Wiring only."""

from django.urls import path

from chatapp.conversations.consumers import ChatConsumer

websocket_urlpatterns = [path("ws/w/<slug:workspace>/", ChatConsumer.as_asgi())]
