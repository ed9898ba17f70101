"""A model's folder or file is found, or downloaded with progress, or the person is told what to do."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from inference.engine.hub import resolve_model
from inference.engine.loader import revision
from inference.errors import ModelNotFound

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b"{}", "model.safetensors": b"s" * 3_000_000, "evil.py": b"x", "old.bin": b"x"}

Progress = list[tuple[float, str]]


class FakeHub(BaseHTTPRequestHandler):
    """As much of the hub as a download of ``owner/name`` needs."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[-1]
        if path.startswith("/api/models/owner/name/tree/"):
            tree = [{"type": "file", "path": file, "size": len(FILES[file]), "oid": file} for file in FILES]
            content = json.dumps(tree).encode()
        elif path.startswith("/api/models/owner/name"):
            siblings = [{"rfilename": file, "size": len(FILES[file])} for file in FILES]
            content = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith("/owner/name/resolve/") and name in FILES:
            content = FILES[name]
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{name}"')
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def use_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    def use(address: str) -> None:
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "ENDPOINT", address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    return use


@pytest.fixture
def hub(use_hub: Callable[[str], None]) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    use_hub(f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


def resolve(name: str, progress: Progress | None = None) -> Path:
    seen = progress if progress is not None else []
    return resolve_model(name, lambda share, detail: seen.append((share, detail)))


def test_a_local_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert resolve(str(tmp_path)) == tmp_path.resolve()


@pytest.mark.parametrize("path", ["/no/such/folder", "./no-such-folder", "no-such-file.gguf"])
def test_a_missing_folder_is_named(path: str) -> None:
    with pytest.raises(ModelNotFound, match="There is no folder or file"):
        resolve(path)


@pytest.mark.usefixtures("hub")
def test_a_name_that_cannot_be_one_is_said_to_be_neither() -> None:
    with pytest.raises(ModelNotFound, match="neither a folder nor a model hub name"):
        resolve("what is this?")


def test_an_unreachable_hub_says_what_to_do(use_hub: Callable[[str], None]) -> None:
    use_hub("http://127.0.0.1:9")
    with pytest.raises(ModelNotFound, match=r"cannot be reached from here.*MODEL=/path/to/the/folder"):
        resolve("owner/name")


@pytest.mark.usefixtures("hub")
def test_an_unknown_name_says_so() -> None:
    with pytest.raises(ModelNotFound, match="knows no such model"):
        resolve("owner/other")


@pytest.mark.usefixtures("hub")
def test_a_download_brings_weights_and_no_code_and_reports_its_progress() -> None:
    seen: Progress = []
    folder = resolve("owner/name", seen)
    assert sorted(file.name for file in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert seen[0] == (0.0, "Looking up owner/name")
    assert seen[-1] == (1.0, "Downloading owner/name: 3 of 3 MB")
    assert revision(folder) == COMMIT[:12]
