"""The Celery application: titles, roll-ups, sweeps. Never token streaming."""

import os
from typing import Any

from celery import Celery
from celery.app.amqp import AMQP
from celery.signals import setup_logging
from kombu import Connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "chatapp.settings.embedded")

MOST_SECONDS = 3  # between two tries: Celery's own thirty would be added to how long Redis was away


class Broker(Connection):
    """A connection that is back soon after what it connects to."""

    def ensure_connection(self, *args: Any, **options: Any) -> Any:
        return super().ensure_connection(*args, **{"interval_max": MOST_SECONDS} | options)


class Queues(AMQP):
    Connection = Broker


app = Celery("chatapp", amqp=Queues)
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@setup_logging.connect
def _keep_our_logging(**_: object) -> None:
    """Connected so that Celery leaves the logging that Django has set up."""
