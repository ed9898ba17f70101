"""A person's preferences over REST; the settings pages save through here as one types."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Preferences, User
from chatapp.common.errors import ModelNotFound
from chatapp.common.serializers import LineField, Strict, TextField
from chatapp.queue.available_models import live_workers

INSTRUCTIONS: dict[str, Any] = {"max_length": Preferences.INSTRUCTIONS_LIMIT, "allow_blank": True, "required": False}


class PreferencesSerializer(Strict):
    display_name = LineField(max_length=60, allow_blank=True, required=False)
    theme = serializers.ChoiceField(choices=Preferences.Theme.choices, required=False)
    default_model = TextField(max_length=200, allow_blank=True, required=False)
    about = TextField(**INSTRUCTIONS)
    style = TextField(**INSTRUCTIONS)  # type: ignore[assignment]  # the name is also of what DRF sets on each field

    def validate_default_model(self, name: str) -> str:
        """One that is on offer now, or the one that was chosen when it was."""
        before = self.context["person"].preferences.default_model
        if name not in {"", before, *(worker.model for worker in live_workers())}:
            raise serializers.ValidationError(ModelNotFound.message)
        return name


class PreferencesView(APIView):
    @extend_schema(responses=PreferencesSerializer)
    def get(self, request: Request) -> Response:
        return Response(PreferencesSerializer(_person(request).preferences).data)

    @extend_schema(request=PreferencesSerializer, responses=PreferencesSerializer)
    def patch(self, request: Request) -> Response:
        """Change any of the fields; the others stay."""
        change = PreferencesSerializer(data=request.data, partial=True, context={"person": _person(request)})
        change.is_valid(raise_exception=True)
        return Response(PreferencesSerializer(_person(request).choose(**change.validated_data)).data)


def _person(request: Request) -> User:
    user: User = request.user  # type: ignore[assignment]  # the permission class lets nobody else in
    return user
