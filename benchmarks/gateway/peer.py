"""LiteLLM's proxy before the same model server: one process, a key, no database, as its documentation starts it.

Its own virtual environment comes from ``python -m benchmarks.peers.install litellm``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

from benchmarks.gateway.clients import Address
from benchmarks.gateway.processes import cpu_seconds, rss_bytes
from benchmarks.gateway.product import Upstream
from benchmarks.gateway.upstream import MODEL
from benchmarks.peers.known import LITELLM
from scripts.cluster import free_port, wait_for_port

KEY = "sk-gateway"
STOP_SECONDS = 15.0
START_SECONDS = 90.0
NAME = "litellm"


class LiteLLM:
    def __init__(self, folder: Path, upstream: Upstream) -> None:
        port = free_port()
        self.address: Address = ("127.0.0.1", port)
        relayed = {"model": f"openai/{MODEL}", "api_base": upstream.url + "/v1", "api_key": "none"}
        settings = {"model_list": [{"model_name": MODEL, "litellm_params": relayed}]}
        config = folder / "litellm.yaml"
        config.write_text(json.dumps(settings | {"general_settings": {"master_key": KEY}}))  # JSON is YAML
        command = [LITELLM, "--config", config, "--host", "127.0.0.1", "--port", port, "--num_workers", 1]
        with (folder / "litellm.log").open("wb") as log:
            self._process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait(port)

    def cpu(self) -> dict[str, float]:
        return {NAME: cpu_seconds(self._process.pid)}

    def rss(self) -> dict[str, int]:
        return {NAME: rss_bytes(self._process.pid)}

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _wait(self, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                return wait_for_port(port)
            except OSError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    raise
