"""People, the tenants they belong to, what a tenant may use, and the keys of programs."""

from .erasures import Erasure
from .keys import ApiKey
from .people import Membership, Preferences, Role, Tenant, User
from .plans import LedgerEntry, Plan, UsageDay

__all__ = [
    "ApiKey",
    "Erasure",
    "LedgerEntry",
    "Membership",
    "Plan",
    "Preferences",
    "Role",
    "Tenant",
    "UsageDay",
    "User",
]
