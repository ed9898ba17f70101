"""What becomes of periodic tasks is counted, and told in the metrics."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from celery import states
from celery.exceptions import Ignore
from django.db import connection
from django.test import Client
from django.utils import timezone

from chatapp.celery import app
from chatapp.chat import tasks
from chatapp.common.periodic import one_at_a_time
from chatapp.ops import task_runs
from chatapp.ops.models import TaskRun
from chatapp.serve.children import start_celery, start_periodic
from feedback.tasks import roll_up

pytestmark = pytest.mark.django_db(transaction=True)


def counts():
    return {(row.task, row.outcome): row.count for row in TaskRun.objects.all()}


def metrics():
    return Client().get("/metrics").content.decode()


def run(task, state=states.SUCCESS, seconds_late=None):
    """As a worker does with a message of the beat's."""
    entry = task_runs.periodic_tasks()[task.name]
    expires = timezone.now() + timedelta(seconds=entry["options"]["expires"] - (seconds_late or 0))
    task.push_request(expires=None if seconds_late is None else expires.isoformat())
    try:
        task_runs._note_lateness(task=task)
        task_runs._note_end(task=task, state=state)
    finally:
        task.pop_request()


def test_a_run_is_counted_by_what_became_of_it(transport):
    before = timezone.now()
    tasks.sweep.apply()  # by ourselves: nobody asked for it periodically
    run(tasks.sweep, seconds_late=1)
    run(tasks.sweep, seconds_late=4)
    run(roll_up, seconds_late=4)
    run(roll_up, states.FAILURE)
    run(roll_up, states.IGNORED)
    task_runs._note_expiry(sender=tasks.sweep, expired=True)
    task_runs._note_expiry(sender=tasks.sweep, expired=False)  # taken back, not too late
    assert counts() == {
        ("chat.sweep", "done"): 1,
        ("chat.sweep", "late"): 1,
        ("chat.sweep", "expired"): 1,
        ("feedback.roll_up", "done"): 1,
        ("feedback.roll_up", "failed"): 1,
        ("feedback.roll_up", "skipped"): 1,
    }
    text = metrics()
    assert 'chatapp_task_runs_total{outcome="expired",task="chat.sweep"} 1.0' in text
    assert 'chatapp_task_runs_total{outcome="done",task="chat.sweep"} 1.0' in text
    (line,) = [line for line in text.splitlines() if line.startswith("chatapp_task_last_success") and "sweep" in line]
    assert before.timestamp() <= float(line.split()[1]) <= timezone.now().timestamp()


def test_a_failure_is_no_success_and_a_title_is_not_periodic(transport):
    run(roll_up, states.FAILURE)
    tasks.title_conversation.push_request()
    task_runs._note_end(task=tasks.title_conversation, state=states.SUCCESS)
    tasks.title_conversation.pop_request()
    assert counts() == {("feedback.roll_up", "failed"): 1}
    assert "chatapp_task_last_success_timestamp_seconds{" not in metrics()


def test_any_number_of_workers_count_at_once():
    together = threading.Barrier(6)

    def note():
        together.wait(10)
        TaskRun.note("chat.sweep", TaskRun.Outcome.DONE)
        connection.close()

    threads = [threading.Thread(target=note) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts() == {("chat.sweep", "done"): 6}


def test_the_metrics_come_without_a_database(transport):
    connection.close()
    port, connection.settings_dict["PORT"] = connection.settings_dict["PORT"], 9
    try:
        assert "chatapp_jobs_waiting 0.0" in metrics()
        task_runs._note_expiry(sender=tasks.sweep, expired=True)  # nor does a worker end for want of it
    finally:
        connection.close()
        connection.settings_dict["PORT"] = port
    assert counts() == {}


def test_a_run_that_takes_long_leaves_the_next_one_out():
    began, go_on, ran = threading.Event(), threading.Event(), []

    @one_at_a_time
    def slow():
        began.set()
        go_on.wait(10)
        ran.append(1)

    thread = threading.Thread(target=slow)
    thread.start()
    began.wait(10)
    with pytest.raises(Ignore):
        slow()
    go_on.set()
    thread.join()
    slow()
    assert ran == [1, 1]


def test_what_comes_by_itself_has_a_queue_and_a_worker_of_its_own(monkeypatch, settings, tmp_path):
    started = []
    settings.VAR_DIR = tmp_path
    monkeypatch.setattr("chatapp.serve.children.start_child", lambda command, environment: started.append(command))
    start_celery()
    start_periodic()
    people, periodic = started
    assert people[people.index("--queues") + 1] == "celery" == app.conf.task_default_queue
    assert periodic[periodic.index("--queues") + 1] == "periodic"
    assert ("--beat" in people, "--beat" in periodic) == (False, True)
    route = app.amqp.router.route
    for name in task_runs.periodic_tasks():
        assert route({}, name)["queue"].name == "periodic"
    assert int(periodic[periodic.index("--concurrency") + 1]) >= len(task_runs.periodic_tasks())
    assert route({}, "chat.title")["queue"].name == "celery"
