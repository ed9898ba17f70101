from django.apps import AppConfig


class QueueConfig(AppConfig):
    name = "chatapp.queue"
    verbose_name = "Models"
