"""The Django project, and the chat domain. The Celery app is loaded so that ``shared_task`` finds it."""

from .celery import app as celery_app

__all__ = ["celery_app"]
