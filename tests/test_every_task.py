"""Every Celery task with things of its own, of another tenant and of nobody, and run twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db.models import F

from chatapp.celery import app
from chatapp.chat.models import Generation
from chatapp.chat.tasks import collect_title
from tests.doors.tasks import TASKS, names_of_tasks
from tests.doors.world import Things, fill, watch

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def written(world, hand, monkeypatch):
    """The world, with every answer in line written, and nobody planning to look at a title again."""
    for _ in world.things:
        hand.answer("Waited")
    Generation.everyone.update(created_at=F("created_at") - timedelta(minutes=1))
    monkeypatch.setattr(collect_title, "apply_async", lambda *arguments, **options: None)
    return world


def run(name: str, its: Things) -> set[str]:
    return watch(lambda: app.tasks[name].apply(fill(TASKS[name].arguments, its)))[1]


def test_the_table_knows_every_task_and_no_other():
    assert names_of_tasks() == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_that_is_run_twice_does_once_what_it_is_for(written, name):
    assert run(name, written.owners) == TASKS[name].changes
    assert run(name, written.owners) == TASKS[name].again


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.arguments])
def test_a_task_does_nothing_to_another_tenants_things_nor_to_none(written, name):
    strangers, nothing = written.things["stranger"], Things.missing()
    for its in (written.owners.inside(strangers), nothing.inside(strangers), nothing, written.owners.inside(nothing)):
        assert run(name, its) == set()
