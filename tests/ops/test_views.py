"""Health, readiness, metrics and error pages."""

from __future__ import annotations

import time

import pytest
from django.test import Client

from chatapp.queue import transport as transport_module
from inference.messages import EMBEDDING, WorkerReport
from inference.transport import MemoryTransport

pytestmark = pytest.mark.django_db


def tell(transport, state, **fields):
    transport.renew("w1", WorkerReport("w1", state, model="test", at=time.time(), **fields))


def test_healthz_says_only_that_the_process_answers(django_assert_num_queries):
    with django_assert_num_queries(0):
        response = Client().get("/healthz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("starting", 503),
        ("downloading", 503),
        ("loading", 503),
        ("failed", 503),
        ("draining", 503),
        ("ready", 200),
    ],
)
def test_readyz_is_200_only_when_an_answer_could_be_had(transport, state, status):
    tell(transport, state, progress=0.42, detail="Loading the weights")
    response = Client().get("/readyz")
    parts = {"database": "ready", "model": state, "embeddings": "absent"}
    assert (response.status_code, response.json()["parts"]) == (status, parts)
    assert response.json()["model"]["progress"] == 0.42


@pytest.mark.parametrize("state", ["ready", "failed"])
def test_readyz_tells_of_embeddings_and_does_not_wait_for_them(transport, state):
    transport.renew("e1", WorkerReport("e1", state, model="embeds", kind=EMBEDDING, at=time.time()))
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["parts"]["embeddings"]) == (200, state)
    tell(transport, "loading")
    response = Client().get("/readyz")
    assert (response.status_code, response.json()["parts"]["model"]) == (503, "loading")


def test_readyz_without_any_worker():
    transport_module.install_transport(MemoryTransport())
    response = Client().get("/readyz")
    transport_module._installed.clear()
    assert (response.status_code, response.json()["parts"]["model"]) == (503, "absent")


def test_metrics_tell_the_queue_and_the_engine(transport):
    tell(transport, "ready", counters={"steps": 12.0})
    embeds = WorkerReport("e1", "ready", model="embeds", kind=EMBEDDING, counters={"loaded": 1.0}, at=time.time())
    transport.renew("e1", embeds)
    text = Client().get("/metrics").content.decode()
    assert "chatapp_jobs_waiting 0.0" in text
    assert 'chatapp_engine{name="steps",worker="w1"} 12.0' in text
    assert 'chatapp_engine{name="loaded",worker="e1"} 1.0' in text
    assert 'chatapp_workers{kind="embedding",model="embeds",state="ready",worker="e1"} 1.0' in text


def test_metrics_with_a_token_are_for_its_bearer_alone(transport, settings):
    settings.METRICS_TOKEN = "secret"
    assert Client().get("/metrics").status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert Client().get("/metrics", headers={"Authorization": "Bearer secret"}).status_code == 200


def test_a_missing_page_is_a_page_for_people_and_json_for_programs():
    page = Client().get("/nowhere/")
    assert (page.status_code, page["Content-Type"].split(";")[0]) == (404, "text/html")
    api = Client().get("/api/v1/nowhere/")
    assert (api.status_code, api.json()["error"]["code"]) == (404, "not_found")


def test_no_page_allows_inline_script_or_style(member, client_of, transport):
    for path in ("/", "/accounts/login/", f"/w/{member.tenant.slug}/chat/"):
        policy = client_of(member).get(path, follow=True).headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "script-src 'self' 'nonce-" in policy
        assert "frame-ancestors 'none'" in policy
        assert "img-src 'self';" in f"{policy};"  # pictures in answers are links


def test_the_openapi_schema_is_served(member, client_of):
    response = client_of(member).get("/api/v1/schema/", headers={"Accept": "application/json"})
    assert response.status_code == 200
    assert "/api/v1/w/{workspace}/conversations/" in response.content.decode()
