"""One door, what each caller is told there, and what a reply says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from django.http import HttpResponse
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from tests.doors.world import Things, fill

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")  # HEAD is GET without a body
SAFE = ("GET", "OPTIONS", "TRACE")
VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")
USUAL = {
    **{"workspace": "workspace", "conversation_id": "conversation", "message_id": "answer", "tenant_id": "tenant"},
    **{"member_id": "colleague", "invitation_id": "invitation", "link_id": "link", "domain_id": "domain"},
    "token": "token",
}
DRAWN = re.compile(rb'nonce="[^"]*"|(?:content|value)="[A-Za-z0-9]{64}"')
PAGES = {
    **{"400.html": "bad_request", "403.html": "forbidden", "403_csrf.html": "forbidden", "404.html": "not_found"},
}

Told = tuple[int, str]
"""A status; with a refusal the error's code, with a redirect its target."""

CODES = {400: "bad_request", 401: "not_authenticated", 403: "forbidden", 404: "not_found", 405: "method_not_allowed"}
WORDS: dict[str, Told] = {
    "log-in": (302, "/accounts/login/?next={path}"),
    "log-in-then": (302, "/accounts/login/?next={quoted}"),
    "asked": (302, "{path}"),
    "again": (302, "/accounts/reauthenticate/?next={quoted}"),
    "admin-log-in": (302, "/admin/login/?next={path}"),
    "to-chat": (302, "/w/{own}/chat/"),
    "to-its": (302, "/w/{its}/chat/"),
}


def meaning(word: str, **names: object) -> Told:
    """What a word of a table stands for: a status, an address to go to, or one of ``WORDS``."""
    if word.isdigit():
        return int(word), CODES.get(int(word), "")
    status, says = WORDS.get(word) or (302, word)
    return status, says.format(**names, quoted=quote(str(names.get("path", "")), safe=""))


Rules = dict[str, dict[str, str]]


def columns(text: str) -> Rules:
    """A table whose first line names the callers: for each rule, what it says to each of them."""
    callers, *lines = (line.split() for line in text.strip().splitlines())
    return {rule: dict(zip(callers, words, strict=True)) for rule, *words in lines}


@dataclass(frozen=True)
class Door:
    """``route`` is as the URL resolver has it; ``rule`` names a line of the table; who is let in is told ``ok``.

    ``body`` and ``query`` may name things, as ``fill`` has them. ``using`` says which thing a variable of the route
    names where that is not its usual one. ``changes`` are the tables in which rows are written for who is let in.
    ``once``: what it does can be done once, so each caller finds things as they were.
    """

    method: str
    route: str
    rule: str
    ok: int | str = 200
    body: dict[str, Any] = field(default_factory=dict)
    query: str = ""
    changes: AbstractSet[str] = frozenset()
    using: dict[str, str] = field(default_factory=dict)
    once: bool = False

    def __str__(self) -> str:
        return f"{self.method} /{self.route}{self.query} {'+'.join(self.body)}".strip()

    @property
    def names_things(self) -> bool:
        return "<" in self.route or "{" in f"{self.query}{list(self.body.values())}"

    def path(self, its: Things) -> str:
        """The address for ``its`` things."""
        names = USUAL | self.using
        path = VARIABLE.sub(lambda found: str(getattr(its, names[found[1]])), self.route)
        return f"/{path}{fill(self.query, its)}"

    def asks(self, its: Things) -> tuple[str, dict[str, Any]]:
        """Address and body for ``its`` things."""
        return self.path(its), fill(self.body, its)

    def knock(self, client: Client, its: Things, method: str = "", naming: Things | None = None) -> HttpResponse:
        """Try it at one of ``its`` things; with a body that names those of ``naming``, where that is another."""
        return request(client, method or self.method, self.path(its), fill(self.body, naming or its))

    def means(self, word: str, its: Things, own: Things) -> Told:
        """What a ``word`` of the table stands for here, to somebody who asks for ``its`` and has ``own`` things."""
        if word == "log-in" and self.route.startswith("api/"):
            word = "401"
        return meaning(
            str(self.ok) if word == "ok" else word, path=quote(self.path(its)), own=own.workspace, its=its.workspace
        )


def request(client: Client, method: str, path: str, body: dict[str, Any] | None = None) -> HttpResponse:
    extra = {} if method in ("GET", "HEAD", "TRACE") else {"data": body or {}, "content_type": "application/json"}
    headers = {"Accept": "application/json, text/html"}
    response: HttpResponse = getattr(client, method.lower())(path, headers=headers, **extra)
    return response


def told(reply: HttpResponse) -> Told:
    if 300 <= reply.status_code < 400:
        return reply.status_code, reply.headers["Location"]
    return reply.status_code, _code(reply) if reply.status_code >= 400 else ""


def _code(reply: HttpResponse) -> str:
    if reply.headers.get("Content-Type", "").startswith("application/json"):
        code: str = reply.json()["error"]["code"]
        return code
    shown = [PAGES[template.name] for template in reply.templates if template.name in PAGES]
    return shown[0] if shown else CODES[405] if reply.status_code == 405 else ""


def whole(reply: HttpResponse, path: str) -> tuple[int, dict[str, str], bytes]:
    """All that a reply says, without the ``path`` it was asked by and what is drawn anew for each."""
    drawn = ("Content-Security-Policy", "Content-Length", "X-Request-ID")
    kept = {name: value.replace(quote(path), "") for name, value in reply.headers.items() if name not in drawn}
    return reply.status_code, kept, DRAWN.sub(b"", reply.content.replace(path.encode(), b""))


def routes() -> set[str]:
    """Every address of the product, as the resolver has it."""
    return set(_walk(get_resolver(), ""))


def _walk(resolver: URLResolver, prefix: str) -> Iterator[str]:
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            yield route
        else:
            yield from _walk(entry, route)
