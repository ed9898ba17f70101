from django.apps import AppConfig


class CommonConfig(AppConfig):
    name = "chatapp.common"
    label = "common"
