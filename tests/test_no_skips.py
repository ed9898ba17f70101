"""What makes a run fail although no test did: each in a pytest of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SUITES = {
    "all pass": ("def test_b(): pass", (), 0),
    "one is skipped": ("import pytest\ndef test_b(): pytest.skip('no GPU')", (), 1),
    "one is skipped on several processes": ("import pytest\ndef test_b(): pytest.skip('x')", ("-p", "xdist", "-n1"), 1),
    "a whole file is skipped": ("import pytest\npytest.importorskip('nothing_of_the_kind')", (), 1),
    "one is not run": ("import pytest\n@pytest.mark.xfail(run=False)\ndef test_b(): pass", (), 1),
    "a file is broken": ("import nothing_of_the_kind", (), 2),
    "nothing is selected": ("def test_b(): pass", ("-k", "nothing_of_the_kind"), 5),
}


@pytest.mark.parametrize("name", SUITES)
def test_a_run_fails_where_something_did_not_run(tmp_path, name):
    text, arguments, expected = SUITES[name]
    (tmp_path / "test_well.py").write_text("def test_a(): pass")
    (tmp_path / "test_it.py").write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]")
    command = [sys.executable, "-m", "pytest", "-p", "tests.no_skips", *arguments, tmp_path]
    known = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    settings = {"CHATAPP_NO_SKIPS": "1", "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    run = subprocess.run(command, check=False, cwd=tmp_path, env=known | settings, capture_output=True, text=True)
    assert run.returncode == expected, run.stdout
