"""Texts as vectors for the web and for Celery, over both transports."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection, transaction
from django.utils import timezone

from accounts.models import LedgerEntry, Reservation, UsageDay, Work
from accounts.scoping import all_tenants
from chatapp.common.errors import (
    MessageTooLong,
    ModelNotFound,
    NoEmbedder,
    Overloaded,
    QuotaExceeded,
    Unavailable,
)
from chatapp.queue import admission, embedding, embedding_jobs
from chatapp.queue import transport as transport_module
from chatapp.queue.embedding import aembed, cut, embed
from chatapp.queue.embedding_jobs import sweep_embeddings
from inference.errors import TransportUnavailable
from inference.messages import BATCH, EMBEDDING, ChatMessage, Job, Sampling, WorkerReport
from inference.transport import MemoryTransport, RedisTransport
from tests.conftest import report_ready
from tests.embedding_worker import Embedder, Words, vector
from tests.factories import MembershipFactory, TenantFactory
from tests.inference.logs import ended, wait_until
from tests.redis_server import Memory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["memory", "redis"])
def transport(request):
    if request.param == "memory":
        memory = MemoryTransport(heartbeat=3600)
        yield from installed(memory)
        return
    server = Memory()
    redis = RedisTransport(os.environ["REDIS_URL"], prefix=server.prefix, heartbeat=3600)
    yield from installed(redis)
    redis.close()
    server.forget()


def installed(transport):
    """With a worker beside it that answers, and may not be given anything of this."""
    report_ready(transport)
    transport_module.install_transport(transport)
    admission._admission.cache_clear()
    yield transport
    transport_module._installed.clear()


@pytest.fixture
def embedder(transport):
    embedder = Embedder(transport)
    yield embedder
    embedder.end()


@pytest.fixture
def tenant(db):
    return TenantFactory(plan__weight=4)


def wanted(texts):
    return np.stack([vector(text.token_ids) for text in Words().encode(texts)])


def tokens(texts):
    return sum(len(text.token_ids) for text in Words().encode(texts))


def account(tenant):
    """Used and reserved of the day, what the ledger says, and what is still set aside."""
    day = UsageDay.everyone.filter(tenant=tenant).values_list("used", "reserved").first() or (0, 0)
    entries = LedgerEntry.everyone.filter(tenant=tenant)
    return (*day, sum(entry.prompt_tokens for entry in entries), Reservation.everyone.count())


def later(action, seconds=0.2):
    timer = threading.Timer(seconds, action)
    timer.start()
    return timer


def test_texts_become_vectors_in_their_order_and_are_charged(tenant, embedder):
    user = MembershipFactory(tenant=tenant).user
    texts = ["one", "one two three", "", "x\x00 \ud83d🦊", "שלום"]
    found = embed(texts, tenant=tenant, user=user)
    assert (found.vectors.shape, found.vectors.dtype) == ((5, 4), np.float32)
    assert np.allclose(found.vectors, wanted(texts), atol=1e-6)
    assert (found.model, found.revision, found.tokens) == ("embeds", "r1", tokens(texts))
    assert account(tenant) == (tokens(texts), 0, tokens(texts), 0)
    entry = LedgerEntry.everyone.get()
    assert (entry.work, entry.model, entry.user_id, entry.output_tokens) == (Work.EMBEDDING, "embeds", user.pk, 0)


def test_no_texts_are_no_vectors_of_the_models_size(tenant, embedder):
    assert embed([], tenant=tenant).vectors.shape == (0, 4)
    assert account(tenant) == (0, 0, 0, 0)


def test_many_texts_go_in_several_jobs_a_few_at_once(tenant, embedder, transport, monkeypatch):
    monkeypatch.setattr(embedding, "JOB_TEXTS", 7)
    monkeypatch.setattr(embedding, "JOBS_AT_ONCE", 2)
    most, submit = [], transport.submit
    monkeypatch.setattr(transport, "submit", lambda job: (submit(job), most.append(Reservation.everyone.count())))
    texts = [f"{'w ' * (number % 9)}{'x' * number}" for number in range(100)]
    found = embed(texts, tenant=tenant, band=BATCH)
    assert np.allclose(found.vectors, wanted(texts), atol=1e-6)
    assert LedgerEntry.everyone.count() == 15
    assert max(most) == 2
    assert account(tenant) == (tokens(texts), 0, tokens(texts), 0)


def test_texts_are_cut_by_their_number_and_by_their_length():
    assert [len(part) for part in cut(["a"] * 130)] == [64, 64, 2]
    assert [len(part) for part in cut(["a" * 90_000] * 5)] == [2, 2, 1]
    assert list(cut([])) == []


async def test_without_a_thread_of_ones_own(tenant, embedder):
    texts = ["one", "two words"]
    both = await asyncio.gather(aembed(texts, tenant=tenant), aembed(texts[::-1], tenant=tenant))
    assert np.allclose(both[0].vectors, wanted(texts), atol=1e-6)
    assert np.allclose(both[1].vectors, wanted(texts)[::-1], atol=1e-6)


async def test_a_caller_that_is_cancelled_takes_its_jobs_along(tenant, embedder, transport):
    embedder.words.go_on.clear()
    task = asyncio.create_task(aembed(["one"], tenant=tenant))
    await asyncio.to_thread(wait_until, lambda: embedder.words.steps)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (job,) = await asyncio.to_thread(reserved)
    embedder.words.go_on.set()
    await asyncio.to_thread(ended, transport, job)
    # Asked to stop in the midst of its only step: what had been read until then is charged, and no more.
    await asyncio.to_thread(age)
    await asyncio.to_thread(sweep)
    used, held, ledger, left = await asyncio.to_thread(account, tenant)
    assert (held, left) == (0, 0)
    assert used == ledger
    assert used in (0, 3)


def reserved():
    return [str(pk) for pk in Reservation.everyone.values_list("pk", flat=True)]


def age(seconds=3_600):
    Reservation.everyone.update(created_at=timezone.now() - timedelta(seconds=seconds))


def sweep():
    with all_tenants():
        return sweep_embeddings()


def test_a_text_that_is_too_long_is_cut_or_refused_by_its_number(tenant, embedder):
    texts = ["one", "w " * 40]
    assert embed(texts, tenant=tenant).vectors.shape == (2, 4)
    with pytest.raises(MessageTooLong, match="Text 2 of 2 is longer than the 16 tokens that the model reads"):
        embed(texts, tenant=tenant, trim=False)
    with pytest.raises(MessageTooLong, match="200,000 characters"):
        embed(["x" * 200_001], tenant=tenant)
    assert account(tenant) == (3 + 16, 0, 3 + 16, 0)


def test_without_a_worker_that_embeds_it_says_so_and_nothing_is_set_aside(tenant, transport):
    with pytest.raises(NoEmbedder) as refused:
        embed(["one"], tenant=tenant)
    assert (refused.value.code, refused.value.status, refused.value.retry_after) == ("no_embedder", 503, 15)
    transport.renew("e", WorkerReport("e", "failed", model="embeds", kind=EMBEDDING, at=time.time()))
    with pytest.raises(NoEmbedder):
        embed(["one"], tenant=tenant)
    assert account(tenant) == (0, 0, 0, 0)
    assert transport.stats().waiting == 0


def test_the_model_is_the_one_named_or_the_first_by_name(tenant, transport, embedder):
    other = Embedder(transport, "e2", "another")
    try:
        assert embed(["one"], tenant=tenant).model == "another"
        assert embed(["one"], tenant=tenant, model="embeds").model == "embeds"
        for name in ("test", "nothing"):
            with pytest.raises(ModelNotFound):
                embed(["one"], tenant=tenant, model=name)
    finally:
        other.end()


def test_a_quota_is_kept_before_anything_is_submitted(transport, embedder):
    tenant = TenantFactory(plan__tokens_per_day=40)
    with pytest.raises(QuotaExceeded):
        embed(["one"] * 600, tenant=tenant)
    with pytest.raises(QuotaExceeded):
        embed(["one two"] * 9, tenant=tenant)
    assert embedder.words.steps == []
    assert account(tenant) == (0, 0, 0, 0)
    assert embed(["one"], tenant=tenant).tokens == 3


def flood(transport, jobs):
    for number in range(jobs):
        transport.submit(Job(f"f{number}", "flood", "embeds", (), Sampling(5), 5, kind=EMBEDDING, texts=("a",)))


def test_a_line_that_is_too_long_refuses_and_an_answer_is_still_taken(tenant, transport, embedder, settings):
    settings.CHATAPP_MOST_WAITING = 2
    embedder.words.go_on.clear()
    flood(transport, 40)
    wait_until(lambda: embedder.words.steps)
    with pytest.raises(Overloaded) as refused:
        embed(["one"], tenant=tenant)
    assert refused.value.retry_after >= 5
    assert account(tenant) == (0, 0, 0, 0)
    answer = Job("g", str(tenant.pk), "test", (ChatMessage("user", "hi"),), Sampling(5), 5)
    transport.submit(answer)
    assert [claim.job.id for claim in transport.claim("w1", 1, 100)] == ["g"]


def test_a_tenant_beside_a_flood_of_another_is_served_before_it(tenant, transport, embedder):
    embedder.words.go_on.clear()
    embedder.words.pace = 0.1
    flood(transport, 200)
    wait_until(lambda: embedder.words.steps)
    later(embedder.words.go_on.set)
    embed(["one"], tenant=tenant)
    assert transport.stats().waiting > 100


def test_what_takes_too_long_is_taken_back_and_said(tenant, transport, embedder):
    embedder.words.go_on.clear()
    began = time.monotonic()
    with pytest.raises(Unavailable, match=r"longer than 0\.3 s"):
        embed(["one"], tenant=tenant, timeout=0.3)
    assert time.monotonic() - began < 5
    (job,) = reserved()
    embedder.words.go_on.set()
    ended(transport, job)
    age()
    assert sweep() == {"settled": 1, "forgotten": 0}
    used, held, ledger, left = account(tenant)
    assert (held, left, used) == (0, 0, ledger)


def test_another_worker_goes_on_when_one_is_lost(tenant, transport, embedder):
    """By its lease: it is silent and does not come back."""
    embedder.words.go_on.clear()
    other = []

    def lose():
        wait_until(lambda: embedder.words.steps)
        embedder.worker._link.beat = lambda *args, **options: None  # as a process that hangs
        transport.hand_back("e1", reserved())
        other.append(Embedder(transport, "e2"))

    losing = later(lose, 0.1)
    found = embed(["one", "two words"], tenant=tenant)
    losing.join()
    assert np.allclose(found.vectors, wanted(["one", "two words"]), atol=1e-6)
    assert account(tenant) == (7, 0, 7, 0)
    other[0].end()


def test_a_job_that_a_transport_forgot_is_submitted_again(tenant, transport, embedder, monkeypatch):
    monkeypatch.setattr(embedding_jobs, "FORGOTTEN_SECONDS", 0.2)
    submit, lost = transport.submit, []

    def losing(job):
        if lost:
            submit(job)
        lost.append(job.id)

    monkeypatch.setattr(transport, "submit", losing)
    assert embed(["one"], tenant=tenant).tokens == 3
    assert lost == lost[:1] * 2
    assert account(tenant) == (3, 0, 3, 0)


@contextmanager
def away(transport, monkeypatch, *verbs):
    def fail(*args, **options):
        raise TransportUnavailable("away")

    with monkeypatch.context() as patch:
        for verb in verbs:
            patch.setattr(transport, verb, fail)
        yield patch


def test_a_transport_that_is_away_for_a_moment_is_waited_for(tenant, transport, embedder, monkeypatch):
    log, looks = transport.log, []

    def failing(*args):
        looks.append(1)
        if len(looks) < 4:
            raise TransportUnavailable("away")
        return log(*args)

    monkeypatch.setattr(transport, "log", failing)
    assert embed(["one"], tenant=tenant).tokens == 3


def test_a_line_that_cannot_be_reached_costs_nothing(tenant, transport, embedder, monkeypatch):
    with away(transport, monkeypatch, "submit"), pytest.raises(Unavailable):
        embed(["one"], tenant=tenant)
    assert account(tenant) == (0, 0, 0, 0)
    with away(transport, monkeypatch, "stats"), pytest.raises(NoEmbedder):
        embed(["one"], tenant=tenant)


def test_a_step_that_fails_is_told(tenant, transport, embedder, monkeypatch):
    def fail(token_ids):
        raise RuntimeError("no memory")

    monkeypatch.setattr(embedder.words, "embed", fail)
    with pytest.raises(Unavailable, match="could not be embedded"):
        embed(["one"], tenant=tenant)
    assert account(tenant) == (0, 0, 0, 0)


def test_what_a_killed_caller_left_is_settled_by_the_sweep_once(tenant, transport, embedder, monkeypatch):
    """One that ended, one that nobody knows, and one that is young."""
    with monkeypatch.context() as patch:
        patch.setattr(embedding_jobs, "_settle_safely", lambda *args: None)
        embed(["one two"], tenant=tenant)
    assert account(tenant)[2:] == (0, 1)
    assert sweep() == {"settled": 0, "forgotten": 0}
    age(15)
    assert sweep() == {"settled": 1, "forgotten": 0}
    assert account(tenant) == (4, 0, 4, 0)
    entry = LedgerEntry.everyone.get()
    assert (entry.model, entry.work) == ("embeds", Work.EMBEDDING)
    with away(transport, monkeypatch, "submit", "cancel") as patch:
        patch.setattr(embedding_jobs, "settle_reservation", lambda **fields: False)
        with pytest.raises(Unavailable):
            embed(["one"], tenant=tenant)
    age(15)
    assert sweep() == {"settled": 0, "forgotten": 0}
    age(180)
    assert [sweep(), sweep()] == [{"settled": 0, "forgotten": 1}, {"settled": 0, "forgotten": 0}]
    assert account(tenant) == (4, 0, 4, 0)


def test_callers_that_race_to_settle_charge_once(tenant, transport, embedder, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(embedding_jobs, "_settle_safely", lambda *args: None)
        embed(["one two"], tenant=tenant)
    age()

    def race():
        try:
            sweep()
        finally:
            connection.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account(tenant) == (4, 0, 4, 0)


def test_it_is_not_called_within_a_transaction(tenant, embedder):
    with pytest.raises(RuntimeError, match="durable"), transaction.atomic():
        embed(["one"], tenant=tenant)


def test_a_text_alone_is_a_mistake(tenant, embedder):
    with pytest.raises(TypeError):
        embed("one", tenant=tenant)
