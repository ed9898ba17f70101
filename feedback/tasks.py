"""Background work on ratings."""

from celery import shared_task
from django.conf import settings

from accounts.scoping import all_tenants
from chatapp.common.periodic import one_at_a_time

from .rollup import roll_up_ratings


@shared_task(name="feedback.roll_up")
@one_at_a_time
def roll_up() -> None:
    """Bring the counts that the reports read up to date. Idempotent."""
    with all_tenants():
        roll_up_ratings(days=settings.CHATAPP_ROLL_UP_DAYS)
