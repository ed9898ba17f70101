from django.apps import AppConfig
from prometheus_client import REGISTRY


class OpsConfig(AppConfig):
    name = "chatapp.ops"

    def ready(self) -> None:
        from .metrics import TransportCollector

        REGISTRY.register(TransportCollector())
