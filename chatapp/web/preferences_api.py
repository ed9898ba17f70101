"""A person's preferences over REST; the settings pages save through here as one types."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Preferences, User


class PreferencesSerializer(serializers.ModelSerializer[Preferences]):
    class Meta:
        model = Preferences
        fields = ("display_name", "theme", "default_model", "about", "style")


class PreferencesView(APIView):
    @extend_schema(responses=PreferencesSerializer)
    def get(self, request: Request) -> Response:
        return Response(PreferencesSerializer(_person(request).preferences).data)

    @extend_schema(request=PreferencesSerializer, responses=PreferencesSerializer)
    def patch(self, request: Request) -> Response:
        """Change any of the fields; the others stay."""
        change = PreferencesSerializer(data=_without_nul(request.data), partial=True)
        change.is_valid(raise_exception=True)
        return Response(PreferencesSerializer(_person(request).choose(**change.validated_data)).data)


def _person(request: Request) -> User:
    user: User = request.user  # type: ignore[assignment]  # the permission class lets nobody else in
    return user


def _without_nul(data: Any) -> Any:
    """PostgreSQL cannot store U+0000, and nobody means it."""
    if not isinstance(data, dict):
        return data
    return {name: value.replace("\x00", "") if isinstance(value, str) else value for name, value in data.items()}
