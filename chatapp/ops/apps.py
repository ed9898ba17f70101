from django.apps import AppConfig
from prometheus_client import REGISTRY


class OpsConfig(AppConfig):
    name = "chatapp.ops"

    def ready(self) -> None:
        from . import task_runs
        from .metrics import TaskCollector, TransportCollector

        REGISTRY.register(TransportCollector())
        REGISTRY.register(TaskCollector())
        task_runs.connect()
