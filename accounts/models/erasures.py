"""Erasure: somebody, or a workspace, that goes for good, and how far that has come."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.utils import timezone

from chatapp.common.ids import uuid7

from .people import Tenant, User

WHOLE = 100


class Erasure(models.Model):
    """What is erased is shut out from the beginning, and has no name here in the end. Nobody takes it back."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    person = models.OneToOneField(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="erasure")
    workspace = models.OneToOneField(Tenant, null=True, blank=True, on_delete=models.SET_NULL, related_name="erasure")
    asked_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    rows = models.PositiveBigIntegerField(default=0)  # counted when the work begins; the last few go at the end
    erased = models.PositiveBigIntegerField(default=0)
    asked_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-asked_at",)
        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["asked_at"], condition=models.Q(ended_at=None), name="open_erasures")
        ]

    def __str__(self) -> str:
        return str(self.person or self.workspace or "(erased)")

    @property
    def percent(self) -> int:
        """How much of it is gone; whole only in the end."""
        if self.ended_at:
            return WHOLE
        return min(WHOLE - 1, WHOLE * self.erased // self.rows) if self.rows else 0

    def shut_out(self) -> None:
        """Nobody gets in, whoever lets them in again meanwhile."""
        User.objects.filter(erasure=self, is_active=True).update(is_active=False)
        Tenant.objects.filter(erasure=self, is_active=True).update(is_active=False)

    def note(self, erased: int) -> None:
        self.erased += erased
        self.save(update_fields=["erased"])

    def end(self) -> None:
        self.person = self.workspace = None
        self.ended_at = timezone.now()
        self.save(update_fields=["person", "workspace", "ended_at"])
