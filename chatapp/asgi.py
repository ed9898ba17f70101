"""The ASGI application: Django for pages and REST, Django with less around it for /v1, Channels for WebSockets.

Wiring only.
"""

import gc
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatapp.settings.production")

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from channels.sessions import SessionMiddlewareStack
from django.core.asgi import get_asgi_application
from django.urls import re_path

pages = get_asgi_application()

import chatapp.urls  # noqa: E402, F401 (now, and not with the first person's request)
from chatapp.routing import websocket_urlpatterns  # noqa: E402 (models must be loaded first)
from chatapp.v1.handler import ApiHandler  # noqa: E402 (models must be loaded first)
from chatapp.web.socket_middleware import keep_send  # noqa: E402 (models must be loaded first)

application = ProtocolTypeRouter(
    {
        "http": URLRouter([re_path(r"^v1(?:/|$)", ApiHandler()), re_path(r"", pages)]),  # type: ignore[arg-type]
        "websocket": AllowedHostsOriginValidator(keep_send(SessionMiddlewareStack(URLRouter(websocket_urlpatterns)))),
    }
)

gc.collect()
gc.set_threshold(20_000, 20, 20)  # every token makes a few objects, and none of them a circle
gc.freeze()  # what was loaded stays: to look at it again would hold every stream for a quarter of a second
