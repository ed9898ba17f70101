"""People, the tenants they belong to, and what a tenant may use."""

from .people import Membership, Preferences, Role, Tenant, User
from .plans import LedgerEntry, Plan, UsageDay

__all__ = ["LedgerEntry", "Membership", "Plan", "Preferences", "Role", "Tenant", "UsageDay", "User"]
