"""Background work on generations."""

from celery import shared_task

from accounts.scoping import all_tenants

from .sweeping import sweep_generations


@shared_task(name="generation.sweep")
def sweep() -> None:
    with all_tenants():
        sweep_generations()
