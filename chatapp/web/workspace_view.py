"""Base of the REST views of a workspace: the caller's place in it, what their role allows, and pages of long lists."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from accounts.models import Membership
from accounts.models.people import Act
from accounts.permissions import require

PAGE = 50
Row = TypeVar("Row", bound=Model)


class ListQuery(serializers.Serializer[Any]):
    """Words to look for, and which page."""

    q = serializers.CharField(max_length=200, required=False, allow_blank=True)
    page = serializers.IntegerField(min_value=1, max_value=100_000, required=False, default=1)


class WorkspaceView(APIView):
    """``needs``: the act whose role is asked of every caller; None where the view, or a service, asks itself."""

    needs: ClassVar[Act | None] = None
    needs_second_factor: ClassVar[bool] = True  # where the workspace asks for one

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.needs is not None:
            require(self.membership, self.needs)

    @property
    def membership(self) -> Membership:
        membership: Membership = self.request._request.membership  # type: ignore[attr-defined]
        return membership

    def asked(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """The body by a serializer. Raises what REST framework does of a body that is wrong."""
        body = serializer(data=self.request.data)
        body.is_valid(raise_exception=True)
        asked: dict[str, Any] = body.validated_data
        return asked

    def query(self, serializer: type[serializers.Serializer[Any]] = ListQuery) -> dict[str, Any]:
        query = serializer(data=self.request.query_params.dict())
        query.is_valid(raise_exception=True)
        asked: dict[str, Any] = query.validated_data
        return asked

    def page(self, rows: QuerySet[Row], number: int, as_json: Callable[[Row], dict[str, Any]]) -> Response:
        """50 of the rows, the number of the next page if there is one, and how many there are in all."""
        first = (number - 1) * PAGE
        shown = list(rows[first : first + PAGE + 1])
        further = number + 1 if len(shown) > PAGE else None
        return Response(
            {"results": [as_json(row) for row in shown[:PAGE]], "next": further, "total": rows.order_by().count()}
        )
