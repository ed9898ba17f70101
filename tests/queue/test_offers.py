"""What the operator says of a model: how it is drawn from, and who gets it without having chosen."""

from __future__ import annotations

import time
import uuid

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from accounts.scoping import tenant_scope
from chatapp.chat.api_calls import start_call
from chatapp.chat.asking import send_message
from chatapp.chat.jobs import rebuild_job
from chatapp.chat.models import Generation
from chatapp.queue import offers as offers_module
from chatapp.queue.models import OfferedModel
from chatapp.queue.offers import offers, suit
from inference.messages import ChatMessage, Sampling
from tests.conftest import report_ready
from tests.factories import ApiKeyFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh(no_titles):
    offers.forget()
    yield
    offers.forget()


@pytest.fixture
def asked(transport, member):
    """``asked(model)``: the job of a message for that model, or for none in particular."""

    def ask(model: str = ""):
        offers.forget()
        with tenant_scope(member.tenant_id):
            send_message(membership=member, text="Hello", key=uuid.uuid4(), model=model)
            return transport.claim("w1", 1, 1_000_000)[0].job

    return ask


def drawn(sampling: Sampling):
    return sampling.temperature, sampling.top_p, sampling.top_k, sampling.min_p


def test_a_model_without_a_row_is_left_to_itself(asked):
    assert drawn(asked("test").sampling) == (None, None, None, None)


def test_a_row_fills_what_it_states_and_leaves_the_rest_to_the_model(asked):
    OfferedModel.objects.create(name="test", temperature=0.3, top_k=0)
    assert drawn(asked("test").sampling) == (0.3, None, 0, None)


def test_a_row_counts_for_whoever_has_chosen_no_model(asked, transport):
    report_ready(transport, "w2", "zebra")
    OfferedModel.objects.create(name="gone", position=0, temperature=1.9)
    OfferedModel.objects.create(name="test", position=1, temperature=0.4)
    job = asked()
    assert (job.model, job.sampling.temperature) == ("test", 0.4)


def test_without_a_row_any_model_may_answer(asked):
    assert asked().model == ""


def test_a_job_that_is_made_again_is_drawn_in_the_same_way(asked):
    OfferedModel.objects.create(name="test", temperature=0.3, min_p=0.1)
    job = asked("test")
    again = rebuild_job(Generation.everyone.select_related("message").get(pk=job.id))
    assert again.sampling == job.sampling


def test_what_a_program_asks_for_comes_first(transport, member):
    OfferedModel.objects.create(name="test", temperature=0.3, top_p=0.5, min_p=0.2)
    wanted = Sampling(max_tokens=8, temperature=0.0, top_p=1.0)
    said = (ChatMessage("user", "Hi"),)
    with tenant_scope(member.tenant_id):
        jobs = start_call(key=ApiKeyFactory(membership=member), messages=said, sampling=wanted, model="test")
    assert drawn(jobs[0].sampling) == (0.0, 1.0, None, 0.2)


def test_a_change_is_heard_of_within_seconds_and_rows_are_not_read_for_every_send(
    monkeypatch, django_assert_num_queries
):
    row = OfferedModel.objects.create(name="test", temperature=0.3)
    assert suit(Sampling(8), "test").temperature == 0.3
    OfferedModel.objects.filter(pk=row.pk).update(temperature=0.9)
    with django_assert_num_queries(0):
        assert suit(Sampling(8), "test").temperature == 0.3
    later = time.monotonic() + offers_module.FRESH_SECONDS
    monkeypatch.setattr(offers_module.time, "monotonic", lambda: later)
    assert suit(Sampling(8), "test").temperature == 0.9


@pytest.mark.parametrize(
    "field", [{"temperature": -0.1}, {"temperature": 2.1}, {"top_p": 0}, {"top_p": 1.1}, {"min_p": -1}, {"min_p": 1.5}]
)
def test_a_setting_that_no_engine_takes_is_refused_by_the_form_and_by_the_database(field):
    row = OfferedModel(name="test", **field)
    with pytest.raises(ValidationError) as refused:
        row.full_clean()
    assert set(field) <= set(refused.value.message_dict)
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save()
