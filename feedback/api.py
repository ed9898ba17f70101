"""Ratings over REST: one address per answer, put and deleted by the person who asked for the answer."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Membership
from chatapp.common.serializers import LineField, NumberChoiceField, Strict, TextField

from .models import Rating, Value
from .reasons import CODES
from .services import rate_answer, undo_rating


class RatingSerializer(Strict):
    """A thumb (1 good, -1 bad), and why."""

    value = NumberChoiceField(choices=Value.values)
    reasons = serializers.ListField(child=LineField(), max_length=len(CODES), default=list)
    comment = TextField(max_length=Rating.COMMENT_LIMIT, allow_blank=True, default="")


class RatingView(APIView):
    """The reader's own rating of one answer."""

    @extend_schema(request=RatingSerializer, responses=RatingSerializer)
    def put(self, request: Request, message_id: UUID) -> Response:
        """Rate, or change the rating. The same again changes nothing."""
        given = RatingSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        rating = rate_answer(membership=self.membership(), message_id=message_id, **given.validated_data)
        return Response(rating.as_json())

    @extend_schema(responses={204: None})
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Take the rating back; 204 also when there is none."""
        undo_rating(membership=self.membership(), message_id=message_id)
        return Response(status=204)

    def membership(self) -> Membership:
        membership: Membership = self.request._request.membership  # type: ignore[attr-defined]
        return membership
