"""Who may join the line, and what the others are told."""

from __future__ import annotations

import math
import time
import uuid

import pytest

from accounts.models import Plan, UsageDay
from accounts.scoping import tenant_scope
from chatapp.chat.api_calls import start_call
from chatapp.chat.asking import send_message
from chatapp.chat.models import Generation, Message
from chatapp.common.errors import MessageTooLong, NoWorker, Overloaded, QuotaExceeded
from chatapp.queue import admission, positions
from chatapp.queue.admission import find_refusal
from chatapp.queue.available_models import live_workers, models_json
from chatapp.queue.model_status import model_json
from chatapp.queue.positions import LineWatch, read_places
from inference.errors import TransportUnavailable
from inference.line.forecast import Forecast
from inference.messages import EMBEDDING, ChatMessage, Job, Sampling, WorkerReport
from inference.transport import MemoryTransport
from tests.factories import ApiKeyFactory, PlanFactory

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def fresh(db):
    """No plans but the tests' own, and nobody whom this process has refused before."""
    Plan.objects.filter(tenants=None).delete()
    admission._admission.cache_clear()
    yield
    admission._admission.cache_clear()


@pytest.fixture
def ask(transport, no_titles):
    """``ask(membership)``: send a message as that person."""

    def send(membership, text="Hello", **fields):
        with tenant_scope(membership.tenant_id):
            return send_message(membership=membership, text=text, key=uuid.uuid4(), **fields)

    return send


def report(transport, *, free_slots=0, rate=10.0, written=(0,), length=100, context_length=4096):
    """One worker, whose answers have always had ``length`` tokens."""
    transport.renew(
        "w1",
        WorkerReport(
            "w1",
            "ready",
            model="test",
            context_length=context_length,
            free_slots=free_slots,
            rate=rate,
            answers=tuple((tokens, 1024) for tokens in written),
            lengths=(length,) * 16,
            at=time.time(),
        ),
    )


def limit(membership, **limits):
    """Change the membership's plan."""
    for name, value in limits.items():
        setattr(membership.tenant.plan, name, value)
    membership.tenant.plan.save()


def test_a_message_that_would_wait_too_long_is_refused_and_nothing_is_written(member, transport, ask):
    limit(member, longest_wait=10)
    report(transport, rate=1.0)
    with pytest.raises(Overloaded) as refused:
        ask(member)
    assert (refused.value.status, refused.value.code, refused.value.retry_after) == (429, "overloaded", 93)
    assert "would wait about 2 min" in refused.value.message
    assert not Message.everyone.exists()
    assert not Generation.everyone.exists()
    assert not UsageDay.everyone.filter(reserved__gt=0).exists()
    assert transport.stats().waiting == 0


def test_an_api_call_stands_in_the_same_line(member, transport):
    limit(member, longest_wait=10)
    report(transport, rate=1.0)
    key = ApiKeyFactory(membership=member)
    with pytest.raises(Overloaded), tenant_scope(member.tenant_id):
        start_call(key=key, messages=(ChatMessage("user", "Hi"),), sampling=Sampling(8), model="")
    assert not Generation.everyone.exists()
    assert not UsageDay.everyone.filter(reserved__gt=0).exists()


def test_whoever_was_refused_gets_in_when_the_wait_is_well_below(member, transport, ask):
    limit(member, longest_wait=10)
    for written, accepted in [((0,), False), ((20,), False), ((40,), True)]:  # 10.1 s, 8 s, 6 s
        report(transport, written=written, length=101)
        if accepted:
            assert ask(member).generation.state == "queued"
        else:
            with pytest.raises(Overloaded):
                ask(member)


def test_a_higher_plan_is_let_in_where_a_lower_is_refused(member, stranger, transport, ask):
    limit(member, longest_wait=10)
    limit(stranger, position=1, longest_wait=30)
    report(transport, rate=5.0)
    with pytest.raises(Overloaded):
        ask(member)
    assert ask(stranger).generation.pk


def test_a_plan_is_as_patient_as_those_below_it(db):
    waits = {"low": 400, "middle": 300, "high": None, "top": 900}
    plans = [PlanFactory(code=code, position=n, longest_wait=wait) for n, (code, wait) in enumerate(waits.items())]
    assert [plan.patience() for plan in plans] == [400, 400, math.inf, math.inf]


@pytest.mark.parametrize("rate", [0.0, 1000.0])
def test_a_full_line_says_so_and_does_not_blame_the_plan(member, transport, ask, settings, rate):
    settings.CHATAPP_MOST_WAITING = 1
    report(transport, rate=rate)
    ask(member)
    with pytest.raises(Overloaded) as refused:
        ask(member)
    assert refused.value.message == "All our GPUs are busy and the line is full."
    assert refused.value.retry_after == 5


def test_the_quota_is_asked_before_the_line(member, transport, ask):
    limit(member, longest_wait=10, tokens_per_day=1)
    report(transport, rate=1.0)
    with pytest.raises(QuotaExceeded):
        ask(member)


def test_what_no_worker_has_room_for_is_refused_for_good(member, transport, ask):
    report(transport, free_slots=1, written=(), context_length=100)
    with pytest.raises(MessageTooLong) as refused:
        ask(member, "x" * 1700)
    assert refused.value.retry_after is None
    assert ask(member, "x" * 1500).generation.pk


def test_a_line_that_cannot_be_reached_is_like_no_worker(member, transport, ask, monkeypatch):
    def unreachable(*args, **fields):
        raise TransportUnavailable("nobody there")

    monkeypatch.setattr(transport, "line", unreachable)
    with pytest.raises(NoWorker) as refused:
        ask(member)
    assert refused.value.retry_after == 15
    assert not Generation.everyone.exists()
    assert read_places(Forecast()) == {}


def test_everyone_in_line_has_a_place_and_a_wait(member, stranger, transport, ask):
    report(transport, written=(70,))
    first, second = ask(member), ask(member)
    third = ask(stranger)
    found = {key: (place.place, place.waiting, place.wait) for key, place in read_places(Forecast()).items()}
    assert found == {
        str(first.generation.pk): (1, 3, 3),
        str(third.generation.pk): (2, 3, 15),  # 3 s, and the answer before it
        str(second.generation.pk): (3, 3, 20),
    }


def test_a_wait_is_told_in_steps_and_not_at_all_when_nobody_knows():
    assert [positions._rounded(seconds) for seconds in (None, 0.0, 4.2, 13.0, 100.0, 5000.0)] == [
        None,
        1,
        5,
        15,
        90,
        3600,
    ]


async def test_many_readers_look_at_the_line_once_a_second(transport, job_in_line, monkeypatch):
    looks = []
    read = MemoryTransport.line
    monkeypatch.setattr(MemoryTransport, "line", lambda self, *args: (looks.append(1), read(self, *args))[1])
    watch = LineWatch()
    for _ in range(50):
        assert (await watch.place("g")).place == 1
    assert await watch.place("another") is None
    assert len(looks) == 1
    monkeypatch.setattr(positions, "LOOK_SECONDS", 0.0)
    await watch.place("g")
    assert len(looks) == 2


@pytest.fixture
def job_in_line(transport):
    transport.submit(Job("g", "t", "m", (), Sampling(8), 5))


def test_a_line_of_embeddings_refuses_no_answer_and_no_person_waits_behind_it(transport, free_plan, settings):
    """Nor does a worker that embeds stand for one that answers."""
    settings.CHATAPP_MOST_WAITING = 3
    now = time.time()
    transport.renew("e1", WorkerReport("e1", "ready", model="test", kind=EMBEDDING, at=now))
    for number in range(5):
        transport.submit(Job(f"e{number}", "t", "test", (), Sampling(5), 5, kind=EMBEDDING, texts=("a",)))
    answer = Job("g", "t", "test", (ChatMessage("user", "hi"),), Sampling(5), 5)
    assert [worker.worker for worker in live_workers()] == ["w1"]
    assert find_refusal(answer, free_plan, live_workers()) is None
    transport.submit(answer)
    assert set(read_places(Forecast())) == {"g"}
    embed = Job("e", "t", "test", (), Sampling(5), 5, kind=EMBEDDING, texts=("a",))
    assert isinstance(find_refusal(embed, free_plan, live_workers(EMBEDDING)), Overloaded)
    assert find_refusal(answer, free_plan, live_workers()) is None


def test_the_page_tells_of_the_worker_that_answers_alone(transport):
    transport.renew("e1", WorkerReport("e1", "ready", model="embeds", kind=EMBEDDING, at=time.time()))
    assert model_json(transport.stats())["name"] == "test"
    assert models_json(transport.stats().workers) == [{"name": "test", "label": "test"}]
    transport.bury("w1")
    assert model_json(transport.stats())["state"] == "absent"


@pytest.mark.parametrize(
    ("told", "label", "about"),
    [
        (
            {"label": "SmolLM2 135M", "parameters": 134_515_008, "license": "Apache-2.0"},
            "SmolLM2 135M",
            "A small model: quick, and often wrong about facts. 135 million parameters, Apache-2.0.",
        ),
        (
            {"label": "Qwen2.5 7B", "parameters": 7_615_616_512},
            "Qwen2.5 7B",
            "The model can be wrong. Check what matters. 7.62 billion parameters.",
        ),
        ({"license": "MIT"}, "b", "The model can be wrong. Check what matters. MIT."),
        ({}, "b", "The model can be wrong. Check what matters."),
        ({"demo": True, "label": "x"}, "Demo model", "The model can be wrong. Check what matters."),
    ],
)
def test_the_page_says_what_the_model_is_and_can_do(transport, told, label, about):
    transport.renew("w1", WorkerReport("w1", "ready", model="a/b", at=time.time(), **told))
    model = model_json(transport.stats())
    assert (model["name"], model["label"], model["about"]) == ("a/b", label, about)
    assert models_json(transport.stats().workers) == [{"name": "a/b", "label": label}]
