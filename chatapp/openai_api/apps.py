from django.apps import AppConfig


class OpenaiApiConfig(AppConfig):
    name = "chatapp.openai_api"
