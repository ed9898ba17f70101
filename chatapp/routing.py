"""WebSocket addresses. Wiring only."""

from django.urls import path

from chatapp.web.consumers import ChatConsumer

websocket_urlpatterns = [path("ws/w/<slug:workspace>/", ChatConsumer.as_asgi())]
