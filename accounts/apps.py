from allauth.account.apps import AccountConfig
from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "People and plans"
    default = True

    def ready(self) -> None:
        from . import account_events  # once there are models

        account_events.connect()


class AddressesConfig(AccountConfig):
    """allauth's, under a name of its own in the admin: two groups called "Accounts" could not be told apart."""

    verbose_name = "Email"
    default = False
