"""Kubelets and Prometheus ask by address; and whose address a request came from is told by proxies of ours alone."""

from __future__ import annotations

import io

import pytest
from allauth.core.internal.httpkit import get_client_ip
from django.core.handlers.asgi import ASGIRequest
from django.test import Client
from uvicorn import Config
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from accounts.models import User

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
@pytest.mark.parametrize("host", ["10.42.0.17:8000", "[fd00::17]", "nobody.knows.example", "not a host"])
def test_probes_are_answered_whatever_the_host(transport, settings, path, host):
    settings.ALLOWED_HOSTS, settings.SECURE_SSL_REDIRECT = ["chat.example.com"], True
    response = Client(headers={"Host": host}).get(path)
    assert response.status_code == 200
    assert not response.cookies


@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/healthz/", "/healthz/x"])
def test_nothing_else_is_answered_under_a_name_that_is_not_ours(transport, settings, path):
    settings.ALLOWED_HOSTS = ["chat.example.com"]
    assert Client(headers={"Host": "10.42.0.17:8000"}).get(path).status_code == 400


async def client_ip(peer: str, *forwarded: str) -> str | None:
    """The address that allauth's limits go by, of a request from ``peer`` through uvicorn as it is configured."""
    found = []

    async def app(scope, receive, send):
        found.append(get_client_ip(ASGIRequest(scope, io.BytesIO())))

    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
    trusted = Config(app).forwarded_allow_ips
    await ProxyHeadersMiddleware(app, trusted)({**scope, "client": (peer, 4711)}, None, None)
    return found[0]


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("10.0.0.7", ("203.0.113.9",), "203.0.113.9"),
        ("10.0.0.7", ("198.51.100.1, 203.0.113.9",), "203.0.113.9"),
        ("10.0.0.7", ("203.0.113.9, 10.0.0.8",), "203.0.113.9"),
        ("10.0.0.7", ("198.51.100.1", "203.0.113.9"), "203.0.113.9"),
        ("10.0.0.7", ("[2001:db8::9]:4711",), "2001:db8::9"),
        ("10.0.0.7", (), "10.0.0.7"),
        ("192.0.2.5", ("203.0.113.9",), "192.0.2.5"),
        ("127.0.0.1", ("203.0.113.9",), "127.0.0.1"),
    ],
)
async def test_only_a_proxy_that_is_trusted_says_who_asks(monkeypatch, peer, forwarded, found):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "10.0.0.0/8")
    assert await client_ip(peer, *forwarded) == found


async def test_without_a_word_only_this_machine_is_trusted(monkeypatch):
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    assert await client_ip("127.0.0.1", "203.0.113.9") == "203.0.113.9"
    assert await client_ip("10.0.0.7", "203.0.113.9") == "10.0.0.7"


def fail_to_log_in(address: str, **headers: str) -> bool:
    """Whether the form says that there were too many."""
    data = {"login": f"{address}@example.com", "password": "wrong"}
    response = Client(headers=headers).post("/accounts/login/", data, REMOTE_ADDR=address)
    return "Too many failed login attempts" in response.content.decode()


def test_failed_logins_are_counted_by_address_and_a_header_of_the_callers_own_is_no_way_out(settings):
    settings.ACCOUNT_RATE_LIMITS = {"login_failed": "2/m/ip"}
    User.objects.create_user("a@example.com", "a quiet green kettle")
    said = [fail_to_log_in("203.0.113.1", **{"X-Forwarded-For": f"198.51.100.{number}"}) for number in range(4)]
    assert said == [False, False, True, True]
    assert not fail_to_log_in("203.0.113.2")
