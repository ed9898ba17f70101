"""The models on offer, and how they are drawn from."""

from __future__ import annotations

from django.contrib import admin

from chatapp.common.admin import CarefulAdmin

from .models import OfferedModel


@admin.register(OfferedModel)
class OfferedModelAdmin(CarefulAdmin):
    list_display = ("name", "position", *OfferedModel.SAMPLING)
    search_fields = ("name",)
    fieldsets = (
        (None, {"fields": ("name", "position")}),
        (
            "How its answers are drawn",
            {
                "fields": OfferedModel.SAMPLING,
                "description": "Empty leaves it to the model. What a program asks for comes first.",
            },
        ),
    )
