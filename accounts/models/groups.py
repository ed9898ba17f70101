"""Group: some members of a workspace, with a quota and models of their own."""

from __future__ import annotations

from django.db import models

from accounts.scoping import TenantModel
from chatapp.common.ids import uuid7

from .people import Membership, check_names


class Group(TenantModel):
    """A member who is in several may use the models of any, and as many tokens as the group that gives most."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=60)
    tokens_per_day = models.PositiveIntegerField(
        null=True, blank=True, help_text="Of each member, prompt and answer. Empty: as the workspace."
    )
    allowed_models = models.JSONField(
        default=list, blank=True, validators=[check_names], help_text="Empty: all that the workspace allows."
    )
    members = models.ManyToManyField(Membership, related_name="groups", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta(TenantModel.Meta):
        ordering = ("name",)
        constraints = (models.UniqueConstraint(fields=("tenant", "name"), name="one_group_of_a_name"),)

    def __str__(self) -> str:
        return self.name
