"""The rows of models on offer, as every send needs them: read once in a few seconds by each process."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from inference.messages import Sampling

from .models import OfferedModel

FRESH_SECONDS = 3.0  # until a change in the admin is heard of


@dataclass(slots=True)
class Offers:
    """``rows`` by name, in the operator's order."""

    rows: dict[str, OfferedModel] = field(default_factory=dict)
    until: float = 0.0

    def read(self) -> dict[str, OfferedModel]:
        if time.monotonic() >= self.until:
            self.rows = {row.name: row for row in OfferedModel.objects.all()}
            self.until = time.monotonic() + FRESH_SECONDS
        return self.rows

    def forget(self) -> None:
        """Read them again next time."""
        self.until = 0.0


offers = Offers()


def first_offered(served: Collection[str]) -> str:
    """Of the models ``served``, the one for whoever has chosen none; empty when the operator prefers none."""
    return next((name for name in offers.read() if name in served), "")


def suit(sampling: Sampling, model: str) -> Sampling:
    """``sampling`` with what it leaves open as the operator says for ``model``."""
    row = offers.read().get(model)
    stated = row.sampling() if row else {}
    return replace(sampling, **{name: value for name, value in stated.items() if getattr(sampling, name) is None})
