"""Addresses of the servers around the product, as Django's settings. All raise ``ValueError`` with what is wrong."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

DATABASE = "an address like postgresql://user:password@host:5432/name?sslmode=verify-full"
MAIL = "an address like smtp://user:password@host:587 or smtps://user:password@host"
SUBMISSION, SUBMISSIONS, RELAY = 587, 465, 25  # STARTTLS, TLS from the first byte, and between servers (RFC 8314)
SAID = {"true": True, "false": False}


def read_database(url: str) -> dict[str, Any]:
    """By libpq itself, so that every option it knows reaches it, and one that it does not know is refused."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    if urlsplit(url).scheme not in ("postgres", "postgresql"):
        raise ValueError("not PostgreSQL's")
    try:
        options = conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise ValueError(str(error).strip()) from None
    if not (options.get("dbname") or options.get("service")):
        raise ValueError("it names no database")
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    settings = {name: str(options.pop(option, "")) for name, option in names.items()}
    return {"ENGINE": "chatapp.common.postgresql", **settings, "OPTIONS": options}


@dataclass(frozen=True, slots=True)
class Mail:
    """``ssl``: TLS from the first byte; ``starttls``: asked for before anything is said."""

    host: str
    port: int
    user: str
    password: str
    ssl: bool
    starttls: bool


def read_mail(url: str) -> Mail:
    """``?tls=true`` asks for STARTTLS on a port that does not stand for it, ``?tls=false`` does without."""
    parts = urlsplit(url)
    if parts.scheme not in ("smtp", "smtps"):
        raise ValueError("neither smtp nor smtps")
    host, password = parts.hostname or "localhost", unquote(parts.password or "")
    port = parts.port or (SUBMISSIONS if parts.scheme == "smtps" else RELAY)
    ssl = parts.scheme == "smtps" or port == SUBMISSIONS
    starttls = not ssl and _asked_for_tls(parts.query, port == SUBMISSION)
    if password and not (ssl or starttls or _is_here(host)):
        raise ValueError("it would send the password unencrypted; use port 587, ?tls=true or smtps")
    return Mail(host, port, unquote(parts.username or ""), password, ssl, starttls)


def _asked_for_tls(query: str, usual: bool) -> bool:
    options = dict(parse_qsl(query, keep_blank_values=True))
    said = options.pop("tls", None)
    if options or (said is not None and said not in SAID):
        raise ValueError("its only option is tls=true or tls=false")
    return usual if said is None else SAID[said]


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
