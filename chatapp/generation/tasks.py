"""Background work on generations."""

from celery import shared_task

from accounts.scoping import all_tenants

from .sweeping import sweep_generations

AGAIN_SECONDS = 3


@shared_task(name="generation.sweep")
def sweep() -> None:
    """Again soon, rather than with the next beat, while there is something that the transport has just forgotten."""
    with all_tenants():
        counts = sweep_generations()
    if counts.get("forgotten"):
        sweep.apply_async(countdown=AGAIN_SECONDS, expires=AGAIN_SECONDS + 9)
