"""People, the tenants they belong to and the ways into them, what a tenant may use, and the keys of programs."""

from .audit import AuditEvent
from .erasures import Erasure
from .invitations import Domain, Invitation, InviteLink
from .keys import ApiKey
from .people import Membership, Preferences, Role, Tenant, User
from .plans import LedgerEntry, Plan, Reservation, UsageDay, Work

__all__ = [
    "ApiKey",
    "AuditEvent",
    "Domain",
    "Erasure",
    "Invitation",
    "InviteLink",
    "LedgerEntry",
    "Membership",
    "Plan",
    "Preferences",
    "Reservation",
    "Role",
    "Tenant",
    "UsageDay",
    "User",
    "Work",
]
