"""What the docs cite is there, and what is not is found."""

from __future__ import annotations

import pytest

from scripts import citations
from scripts.citations import documents, lost_citations, tracked_files

FILES = [
    "chatapp/web/frames.py",
    "static/js/models/chat.js",
    "static/js/vendor/LICENSES.md",
    "README.md",
    "scripts/check",
]


def test_every_path_in_the_docs_is_there():
    assert len(documents()) > 15
    assert list(lost_citations(documents(), tracked_files())) == []


@pytest.fixture
def lost(tmp_path, monkeypatch):
    """``lost("text")``: the citations of a document with that text that lead nowhere, among ``FILES``."""
    monkeypatch.setattr(citations, "ROOT", tmp_path)
    (tmp_path / "there.md").touch()

    def lost(text: str) -> list[str]:
        document = tmp_path / "doc.md"
        document.write_text(text)
        return [line.split()[1] for line in lost_citations([document], FILES)]

    return lost


@pytest.mark.parametrize(
    "text",
    [
        "`chatapp/web/frames.py`, `chatapp/web/`, `web/frames.py`, `frames.py`, `scripts/check`",
        "`models/chat` and `vendor/LICENSES.md`",
        "`text/event-stream`, `POST /v1/chat/completions`, `var/run/journal`, `results/engine-<workload>.json`",
        "[there](there.md#part), [elsewhere](https://example.com/gone.md), [here](#part)",
    ],
)
def test_what_is_there_or_is_no_path_is_left_alone(lost, text):
    assert lost(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`chatapp/generation/`", ["chatapp/generation/"]),
        ("`python -m pytest web/test_gone.py`", ["web/test_gone.py"]),
        ("`gone.py` and `models/gone`", ["gone.py", "models/gone"]),
        ("`rames.py`", ["rames.py"]),
        ("[gone](gone.md#part)", ["gone.md"]),
    ],
)
def test_what_is_not_there_is_found(lost, text, found):
    assert lost(text) == found
