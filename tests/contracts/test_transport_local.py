"""The socket between the processes of one machine."""

from __future__ import annotations

import subprocess
import sys

import pytest

from inference.errors import TransportUnavailable
from inference.transport import LocalTransport, MemoryTransport, serve_local
from tests.contracts.claiming import claim_ids


def test_a_transport_out_of_reach_says_so_and_is_found_again(tmp_path, job):
    client = LocalTransport(tmp_path / "s", b"key")
    with pytest.raises(TransportUnavailable):
        client.submit(job("g"))
    serve_local(tmp_path / "s", b"key", MemoryTransport(), lambda group, message: None)
    client.submit(job("g"))
    assert claim_ids(client) == ["g"]


def test_a_socket_is_taken_away_once_and_no_other_in_its_place(tmp_path):
    """Whatever has become of the file meanwhile: nothing is printed at the end of the process."""
    path = tmp_path / "s"
    close = serve_local(path, b"key", MemoryTransport(), lambda group, message: None)
    close()
    assert not path.exists()
    close_gone = serve_local(path, b"key", MemoryTransport(), lambda group, message: None)
    path.unlink()
    close_gone()
    script = (
        "import sys; from pathlib import Path; from inference.transport import MemoryTransport, serve_local\n"
        "path = Path(sys.argv[1]); close = serve_local(path, b'key', MemoryTransport(), print)\n"
        "path.unlink(); close()\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stderr == ""


def test_a_client_without_the_key_is_refused(tmp_path, job):
    from multiprocessing import AuthenticationError

    serve_local(tmp_path / "s", b"key", MemoryTransport(), lambda group, message: None)
    with pytest.raises(AuthenticationError):
        LocalTransport(tmp_path / "s", b"other").submit(job("g"))
