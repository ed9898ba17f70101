"""A key that ends while its answer is being written: so does the answer, whichever process was told."""

from __future__ import annotations

import time

import openai
import pytest
from django.utils import timezone

from accounts.models import ApiKey, Membership, Tenant, UsageDay, User
from accounts.services import begin_erasing
from chatapp.chat import tasks
from chatapp.chat.models import Generation
from tests.factories import ApiKeyFactory

from .conftest import wait_until
from .test_answers import Asking
from .test_client import ask

PROMISED_SECONDS = 5


def revoke(key):
    ApiKey.everyone.filter(pk=key.pk).update(revoked_at=timezone.now())


def suspend(key):
    User.objects.filter(pk=key.user_id).update(is_active=False)


def remove(key):
    Membership.objects.filter(user=key.user_id, tenant=key.tenant_id).delete()


def erase(key):
    begin_erasing(rows=[key.user], by=key.user)
    tasks.erase()


def suspend_workspace(key):
    Tenant.objects.filter(pk=key.tenant_id).update(is_active=False)


def forbid_the_model(key):
    Tenant.objects.filter(pk=key.tenant_id).update(allowed_models=["another"])


def erase_workspace(key):
    begin_erasing(rows=[key.tenant], by=key.user)
    tasks.erase()


ENDS = pytest.mark.parametrize(
    ("end", "code"),
    [
        (revoke, "invalid_api_key"),
        (suspend, "forbidden"),
        (remove, "forbidden"),
        (erase, "forbidden"),
        (suspend_workspace, "forbidden"),
        (erase_workspace, "forbidden"),
        (forbid_the_model, "model_not_found"),
    ],
)


def is_told_to_stop(transport, machine, job):
    renewal = transport.renew(machine.name)
    return job.id in renewal.cancelled | renewal.lost


def read(stream):
    """What a caller that reads a stream to its end has got, and what the end was."""
    text = ""
    try:
        for chunk in stream:
            text += chunk.choices[0].delta.content or ""
    except openai.APIError as error:
        return text, error
    return text, None


@ENDS
def test_a_stream_ends_in_words_though_its_worker_says_nothing(client, key, transport, machine, end, code):
    stream = ask(client, stream=True)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    next(iter(stream))
    end(key)
    began = time.monotonic()
    _, error = read(stream)
    assert time.monotonic() - began < PROMISED_SECONDS
    assert error.body["code"] == code
    wait_until(lambda: is_told_to_stop(transport, machine, job))


@ENDS
def test_a_whole_answer_is_refused(client, key, transport, machine, end, code):
    caller = Asking(client)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    end(key)
    caller.join(PROMISED_SECONDS)
    assert caller.error.code == code
    wait_until(lambda: is_told_to_stop(transport, machine, job))


def test_one_that_waits_in_line_leaves_it(client, key, transport):
    caller = Asking(client)
    wait_until(lambda: transport.stats().waiting == 1)
    revoke(key)
    caller.join(PROMISED_SECONDS)
    assert caller.error.code == "invalid_api_key"
    wait_until(lambda: transport.stats().waiting == 0)


def test_all_answers_to_one_call_end(client, key, transport, machine):
    stream = ask(client, stream=True, n=2)
    jobs = [machine.take(), machine.take()]
    for job in jobs:
        machine.start(job)
    machine.write(jobs[0], "one ")
    next(iter(stream))
    revoke(key)
    assert read(stream)[1].body["code"] == "invalid_api_key"
    wait_until(lambda: {job.id for job in jobs} <= transport.renew(machine.name).cancelled)


def test_nothing_is_told_after_the_end_and_what_was_written_is_charged(client, key, transport, machine):
    stream = ask(client, stream=True)
    job = machine.take()
    machine.start(job)
    machine.write(job, "one ")
    next(iter(stream))
    revoke(key)
    wait_until(lambda: job.id in transport.renew(machine.name).cancelled)
    machine.write(job, "secret ")
    machine.end(job, "cancelled")
    text, error = read(stream)
    assert (text, error.body["code"]) == ("one ", "invalid_api_key")
    wait_until(lambda: Generation.everyone.get().state == "stopped")
    assert UsageDay.everyone.values_list("reserved", "used").get() == (0, 12)


def test_the_calls_of_other_keys_go_on(client, client_with, key, machine):
    other = ApiKeyFactory(tenant=key.tenant, user=key.user)
    stream = ask(client_with(other.secret), stream=True)
    job = machine.take()
    machine.start(job)
    revoke(key)
    time.sleep(PROMISED_SECONDS / 2)
    machine.write(job, "all of it")
    machine.end(job)
    assert read(stream) == ("all of it", None)


@pytest.mark.parametrize("stream", [True, False])
def test_one_that_the_sweep_stops_first_is_told_of_its_key_all_the_same(client, key, transport, machine, stream):
    caller = Asking(client, stream=stream)
    job = machine.take()
    machine.start(job)
    revoke(key)
    tasks.stop()
    assert job.id in transport.renew(machine.name).cancelled
    machine.end(job, "cancelled")
    caller.join(PROMISED_SECONDS)
    error = read(caller.reply)[1].body if stream else caller.error
    assert (error["code"] if stream else error.code) == "invalid_api_key"
