"""A run that leaves a process behind fails, and the process is ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LEAVING = """
import subprocess, sys
def test_it():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep({seconds})"], start_new_session=True)
    open("pid", "w").write(str(child.pid))
"""


@pytest.mark.parametrize(("seconds", "status", "several"), [(60, 1, ()), (60, 1, ("-p", "xdist", "-n1")), (0.5, 0, ())])
def test_a_run_fails_where_a_process_is_left(tmp_path, seconds, status, several):
    (tmp_path / "test_it.py").write_text(LEAVING.format(seconds=seconds))
    (tmp_path / "pytest.ini").write_text("[pytest]")
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    settings = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    command = [sys.executable, "-m", "pytest", "-p", "tests.services", *several, tmp_path]
    run = subprocess.run(command, check=False, cwd=tmp_path, env=known | settings, capture_output=True, text=True)
    assert run.returncode == status, run.stderr
    pid = (tmp_path / "pid").read_text()
    assert (f"{pid} {sys.executable} -c import time" in run.stderr) == (status == 1)
    assert not is_alive(Path("/proc") / pid)


def is_alive(process: Path) -> bool:
    """A dead one may still wait for a parent to look at its status."""
    return process.exists() and process.joinpath("cmdline").read_bytes() != b""
