"""What a plan allows: reserve and settle, rate, concurrency."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import time_machine
from django.db import connection, transaction

from accounts.models import LedgerEntry, Reservation, UsageDay, Work
from accounts.quotas import (
    check_concurrency,
    check_rate,
    check_tokens,
    open_reservations,
    read_usage,
    reserve_tokens,
    settle_reservation,
    today,
)
from chatapp.common.errors import QuotaExceeded, RateLimited, TooManyAnswers
from tests.factories import PlanFactory, TenantFactory


def tenant_with(**limits):
    return TenantFactory(plan=PlanFactory(**limits))


@pytest.mark.django_db
def test_reservations_count_until_they_are_settled_with_what_was_used():
    tenant = tenant_with(tokens_per_day=1_000)
    day = today()
    reserve_tokens(tenant, 600, day)
    assert (read_usage(tenant).used, read_usage(tenant).reserved) == (0, 600)
    with pytest.raises(QuotaExceeded):
        reserve_tokens(tenant, 401, today())
    UsageDay.settle(tenant_id=tenant.pk, day=day, reserved=600, used=150)
    assert (read_usage(tenant).used, read_usage(tenant).reserved) == (150, 0)
    reserve_tokens(tenant, 850, today())
    assert UsageDay.everyone.get(tenant=tenant).requests == 2


@pytest.mark.django_db
@time_machine.travel(datetime(2026, 3, 1, 22, 30, tzinfo=UTC), tick=False)
def test_a_refusal_says_when_the_day_begins_again():
    tenant = tenant_with(tokens_per_day=10)
    with pytest.raises(QuotaExceeded) as refused:
        reserve_tokens(tenant, 11, today())
    assert refused.value.as_json() == {
        "code": "quota_exceeded",
        "message": f"This would pass today's 10 tokens of the {tenant.plan.name} plan. "
        "They start again at 00:00 UTC; your draft is kept.",
        "retry_after": 5400,
        "resets_at": "2026-03-02T00:00:00+00:00",
    }


@pytest.mark.django_db
def test_a_new_day_has_its_own_tokens_and_another_tenant_too():
    tenant, other = tenant_with(tokens_per_day=10), tenant_with(tokens_per_day=10)
    with time_machine.travel(datetime(2026, 3, 1, 12, tzinfo=UTC)):
        reserve_tokens(tenant, 10, today())
        reserve_tokens(other, 10, today())
    with time_machine.travel(datetime(2026, 3, 2, 0, 0, 1, tzinfo=UTC)):
        reserve_tokens(tenant, 10, today())


@pytest.mark.django_db
def test_a_plan_without_a_limit_never_refuses():
    tenant = tenant_with(tokens_per_day=None, requests_per_minute=None)
    reserve_tokens(tenant, 10**9, today())
    for _ in range(100):
        check_rate(tenant)
    assert read_usage(tenant).limit is None


@pytest.mark.django_db(transaction=True)
def test_racing_reservations_never_pass_the_limit():
    tenant = tenant_with(tokens_per_day=1_000)
    granted = []

    def reserve() -> None:
        try:
            reserve_tokens(tenant, 100, today())
            granted.append(100)
        except QuotaExceeded:
            pass
        finally:
            connection.close()

    threads = [threading.Thread(target=reserve) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(granted), UsageDay.everyone.get(tenant=tenant, day=today()).reserved) == (1_000, 1_000)


@pytest.mark.django_db
def test_requests_per_minute_are_counted_per_tenant_and_the_refusal_says_how_long():
    tenant, other = tenant_with(requests_per_minute=3), tenant_with(requests_per_minute=3)
    for _ in range(3):
        check_rate(tenant)
    with pytest.raises(RateLimited) as refused:
        check_rate(tenant)
    assert 1 <= refused.value.retry_after <= 60
    check_rate(other)


@pytest.mark.django_db
def test_answers_at_once_are_limited():
    tenant = tenant_with(concurrent_answers=2)
    check_concurrency(tenant, 1)
    with pytest.raises(TooManyAnswers):
        check_concurrency(tenant, 2)


@pytest.mark.django_db(transaction=True)
def test_what_is_set_aside_for_other_work_is_settled_once_and_in_the_ledger():
    tenant, (first, second, unknown) = tenant_with(tokens_per_day=100), (uuid4(), uuid4(), uuid4())
    open_reservations(tenant=tenant, user=None, work=Work.EMBEDDING, tokens={first: 30, second: 40})
    assert day_of(tenant) == (0, 70)
    with pytest.raises(QuotaExceeded):
        open_reservations(tenant=tenant, user=None, work=Work.EMBEDDING, tokens={unknown: 31})
    for done in (True, False):
        assert settle_reservation(job=first, model="m", tokens=12) is done
    assert settle_reservation(job=second, model="m", tokens=0)
    assert not settle_reservation(job=unknown, model="m", tokens=5)
    assert day_of(tenant) == (12, 0)
    entry = LedgerEntry.everyone.get()
    assert (entry.generation_id, entry.work, entry.prompt_tokens, entry.output_tokens) == (first, "embedding", 12, 0)


@pytest.mark.django_db(transaction=True)
def test_tokens_are_not_set_aside_in_a_transaction_that_others_would_wait_for():
    tenant = tenant_with(tokens_per_day=100)
    with pytest.raises(RuntimeError), transaction.atomic():
        open_reservations(tenant=tenant, user=None, work=Work.EMBEDDING, tokens={uuid4(): 1})
    assert not Reservation.everyone.exists()


@pytest.mark.django_db
def test_what_a_plan_has_left_is_checked_before_a_part_is_set_aside():
    tenant = tenant_with(tokens_per_day=100)
    reserve_tokens(tenant, 60, today())
    check_tokens(tenant, 40)
    with pytest.raises(QuotaExceeded):
        check_tokens(tenant, 41)
    check_tokens(tenant_with(tokens_per_day=None), 10**9)


def day_of(tenant):
    return UsageDay.everyone.filter(tenant=tenant).values_list("used", "reserved").get()
