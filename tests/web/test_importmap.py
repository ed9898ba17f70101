"""The import map, and the weight of a page before its lazy parts."""

from __future__ import annotations

import gzip
import json
import re

import pytest
from django.test import Client

from chatapp.web.templatetags.importmap import _root, eager, modules


def weight(entry):
    """Bytes after gzip of every module that the page loads before it can be used."""
    return sum(len(gzip.compress((_root() / f"{name}.js").read_bytes(), 6)) for name in eager(entry))


@pytest.mark.parametrize("entry", [name for name in modules() if name.startswith("pages/")])
def test_a_page_weighs_under_100_kb_of_script_before_its_lazy_parts(entry):
    assert 100 < weight(entry) < 100_000


def test_highlighting_is_lazy():
    assert not [name for name in eager("pages/chat") if "highlight/" in name]
    assert [name for name in modules() if "highlight/" in name]


@pytest.mark.parametrize("name", [name for name in modules() if not name.startswith("vendor/")])
def test_every_module_imports_only_modules_that_exist(name):
    assert eager(name)[0] == name


@pytest.mark.django_db
def test_the_map_names_every_module_under_the_requests_nonce():
    response = Client().get("/accounts/login/")
    nonce = re.search(r"'nonce-([^']+)'", response.headers["Content-Security-Policy"])[1]
    page = response.content.decode()
    found = re.search(rf'<script type="importmap" nonce="{re.escape(nonce)}">(.*?)</script>', page)
    assert set(json.loads(found[1])["imports"]) == set(modules())


def test_an_unknown_module_is_an_error():
    with pytest.raises(KeyError):
        eager("pages/nowhere")
