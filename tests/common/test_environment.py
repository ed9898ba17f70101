"""The environment is parsed once, and a bad value says what was expected."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from chatapp.settings.environment import Environment
from chatapp.settings.services import DATABASE, MAIL, Mail, read_database, read_mail

PRODUCTION = {
    "DJANGO_SETTINGS_MODULE": "chatapp.settings.production",
    "SECRET_KEY": "k" * 60,
    "ALLOWED_HOSTS": "chat.example.com",
    "DATABASE_URL": "postgresql://chatapp:p%40ss@db.example.com:6432/chat?sslmode=verify-full&connect_timeout=5",
    "REDIS_URL": "redis://localhost",
    "METRICS_TOKEN": "t",
    "EMAIL_URL": "smtp://postman:secret@mail.example.com:587",
}


@pytest.fixture
def read(monkeypatch):
    """``read("integer", "7", …)``: what the environment's method makes of a variable with that value."""

    def read(verb, raw, *args, **kwargs):
        monkeypatch.delenv("NAME", raising=False)
        if raw is not None:
            monkeypatch.setenv("NAME", raw)
        return getattr(Environment(), verb)("NAME", *args, **kwargs)

    return read


def production(code: str, **environment: str) -> str:
    """What ``code`` prints in a process with the settings of production."""
    command = [sys.executable, "-c", f"import django; django.setup(); from django.conf import settings; {code}"]
    settings = {"PATH": os.environ["PATH"], **PRODUCTION, **environment}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("verb", "raw", "value"),
    [
        ("text", " a b ", "a b"),
        ("boolean", "Yes", True),
        ("boolean", "0", False),
        ("integer", "7", 7),
        ("words", "a, b ,,c", ["a", "b", "c"]),
        ("path", "/tmp/x", Path("/tmp/x")),
    ],
)
def test_values_are_parsed(read, verb, raw, value):
    assert read(verb, raw) == value


@pytest.mark.parametrize(
    ("verb", "raw", "args", "expected"),
    [
        ("boolean", "maybe", (), "NAME='maybe' is not valid: expected true or false."),
        ("integer", "many", (), "NAME='many' is not valid: expected a whole number from 0 to 2147483648."),
        ("integer", "7.5", (), "NAME='7.5' is not valid: expected a whole number from 0 to 2147483648."),
        ("choice", "x", (("a", "b"),), "NAME='x' is not valid: expected one of a, b."),
        ("url", "ftp://x", (("redis", "rediss"),), "expected an address like redis://… or rediss://…."),
        ("networks", "10.0.0.0/33", ([],), "separated by commas, or *."),
        ("networks", "*, 10.0.0.1", ([],), "separated by commas, or *."),
        ("text", None, (), "NAME is not set: expected a text."),
        ("text", "  ", (), "NAME is not set: expected a text."),
    ],
)
def test_bad_and_missing_values_name_the_variable_and_what_was_expected(read, verb, raw, args, expected):
    with pytest.raises(ImproperlyConfigured) as refused:
        read(verb, raw, *args)
    assert str(refused.value).startswith("NAME")
    assert str(refused.value).endswith(expected)


def test_bounds_are_inclusive_and_defaults_are_given_as_they_are(read):
    assert read("integer", "10", low=1, high=10) == 10
    with pytest.raises(ImproperlyConfigured):
        read("integer", "11", low=1, high=10)
    assert read("integer", None, 5) == 5
    assert read("text", "", "default") == "default"
    assert read("networks", " 10.0.0.0/8, ::1", []) == ["10.0.0.0/8", "::1"]
    assert read("networks", "*", []) == ["*"]


def test_a_value_may_stand_in_a_file(read, monkeypatch, tmp_path):
    (tmp_path / "secret").write_text("of the file\n")
    monkeypatch.setenv("NAME_FILE", str(tmp_path / "secret"))
    assert read("text", None) == "of the file"


@pytest.mark.parametrize(
    ("url", "settings", "options"),
    [
        (
            "postgresql://u:p%40@h:6432/db?sslmode=verify-full&connect_timeout=5&options=-c%20statement_timeout%3D5s",
            {"NAME": "db", "USER": "u", "PASSWORD": "p@", "HOST": "h", "PORT": "6432"},
            {"sslmode": "verify-full", "connect_timeout": "5", "options": "-c statement_timeout=5s"},
        ),
        ("postgres://u@/db?host=/run/postgresql", {"NAME": "db", "USER": "u", "HOST": "/run/postgresql"}, {}),
        (
            "postgresql://one,two:6000/db?target_session_attrs=read-write",
            {"NAME": "db", "HOST": "one,two", "PORT": ",6000"},
            {"target_session_attrs": "read-write"},
        ),
        ("postgresql://[::1]/db", {"NAME": "db", "HOST": "::1"}, {}),
        ("postgresql:///?service=chat", {}, {"service": "chat"}),
    ],
)
def test_every_option_of_the_database_arrives(url, settings, options):
    nothing = dict.fromkeys(("NAME", "USER", "PASSWORD", "HOST", "PORT"), "")
    engine = {"ENGINE": "chatapp.common.postgresql"}
    assert read_database(url) == {**engine, **nothing, **settings, "OPTIONS": options}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://u:secret@h/db?sslmod=require", 'invalid URI query parameter: "sslmod"'),
        ("postgresql://u:secret@h", "it names no database"),
        ("mysql://u:secret@h/db", "not PostgreSQL's"),
        ("u:secret@h", "not PostgreSQL's"),
    ],
)
def test_a_database_that_cannot_be_meant_is_refused_without_telling_its_password(read, url, why):
    with pytest.raises(ImproperlyConfigured) as refused:
        read("parsed", url, read_database, DATABASE)
    assert why in str(refused.value)
    assert "secret" not in str(refused.value) or "://" not in url


@pytest.mark.parametrize(
    ("url", "mail"),
    [
        ("smtp://localhost", Mail("localhost", 25, "", "", ssl=False, starttls=False)),
        ("smtp://u:p%40@mail.example.com:587", Mail("mail.example.com", 587, "u", "p@", ssl=False, starttls=True)),
        ("smtps://u:p@mail.example.com", Mail("mail.example.com", 465, "u", "p", ssl=True, starttls=False)),
        ("smtp://u:p@mail.example.com:465", Mail("mail.example.com", 465, "u", "p", ssl=True, starttls=False)),
        ("smtp://u:p@mail.example.com?tls=true", Mail("mail.example.com", 25, "u", "p", ssl=False, starttls=True)),
        ("smtp://relay:587?tls=false", Mail("relay", 587, "", "", ssl=False, starttls=False)),
        ("smtp://u:p@127.0.0.1:1025", Mail("127.0.0.1", 1025, "u", "p", ssl=False, starttls=False)),
    ],
)
def test_how_mail_is_sent(url, mail):
    assert read_mail(url) == mail


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("smtp://u:secret@mail.example.com", "unencrypted"),
        ("smtp://u:secret@mail.example.com:587?tls=false", "unencrypted"),
        ("smtp://u:secret@10.0.0.1:2525", "unencrypted"),
        ("smtp://mail.example.com?tsl=true", "only option"),
        ("smtp://mail.example.com?tls=maybe", "only option"),
        ("smtp://mail.example.com:port", "port"),
        ("http://mail.example.com", "neither smtp nor smtps"),
    ],
)
def test_mail_that_would_give_a_password_away_is_refused_without_telling_it(read, url, why):
    with pytest.raises(ImproperlyConfigured, match=why) as refused:
        read("parsed", url, read_mail, MAIL)
    assert "secret" not in str(refused.value)


def test_production_has_what_its_environment_says():
    database = "settings.DATABASES['default']"
    names = "connect_timeout", "pool", "sslmode", "keepalives_idle"  # the address's own come before ours
    printed = production(f"print([{database}['OPTIONS'][name] for name in {names}])")
    assert printed == str(["5", {"max_size": 10}, "verify-full", 20])
    names = "EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_PASSWORD", "EMAIL_USE_TLS", "EMAIL_USE_SSL"
    printed = production(f"print([getattr(settings, name) for name in {names}])")
    assert printed == "['mail.example.com', 587, 'secret', True, False]"


def test_the_options_of_the_database_reach_its_driver():
    """Of a pool's connections, too; nothing is connected to."""
    code = "from django.db import connection as c; print(c.get_connection_params()['sslmode'], c.pool.size)"
    assert production(code, DATABASE_POOL="7") == "verify-full 7"


def test_production_does_not_start_with_a_password_in_the_open():
    said = production("print('started')", EMAIL_URL="smtp://postman:secret@mail.example.com:25")
    assert said.startswith(
        "django.core.exceptions.ImproperlyConfigured: EMAIL_URL='smtp://postman:…@mail.example.com:25'"
    )
    assert "secret" not in said
