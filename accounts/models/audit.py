"""AuditEvent: who did what that needed a right, to whom, from where."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from chatapp.common.ids import uuid7


class AuditEvent(models.Model):
    """Written once; the database refuses to change or delete it. So it names people by their ids alone: whoever is
    erased is nobody from then on.

    tenant_id: None for what is the platform's. actor_id: None for a task or a command. object: kind and id of what it
    was done to. before, after: the fields that changed, without anything that people wrote.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(auto_now_add=True)
    tenant_id = models.UUIDField(null=True)
    actor_id = models.UUIDField(null=True)
    act = models.CharField(max_length=60, help_text="Such as member.removed.")
    object_kind = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=60, blank=True)
    before = models.JSONField(default=dict)
    after = models.JSONField(default=dict)
    address = models.GenericIPAddressField(null=True)
    agent = models.CharField(max_length=200, blank=True, help_text="The browser or program, as it calls itself.")

    objects: ClassVar[models.Manager[AuditEvent]] = models.Manager()

    class Meta:
        ordering = ("-at", "-id")
        indexes = (
            models.Index(fields=("tenant_id", "-at"), name="audit_of_tenant"),
            models.Index(fields=("actor_id", "-at"), name="audit_of_actor"),
        )

    def __str__(self) -> str:
        return f"{self.act} at {self.at:%Y-%m-%d %H:%M}"
