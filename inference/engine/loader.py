"""From a model's name to a folder on this machine, and what that folder says of the model."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from ..errors import ModelNotFound

Progress = Callable[[float, str], None]  # share done from 0 to 1, and what is being done

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]  # never code, never pickles
SAMPLING = ("temperature", "top_p", "top_k", "min_p")
SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})$")


def resolve_model(name_or_path: str, progress: Progress) -> Path:
    """A local folder as it is, or a hub name downloaded into the hub's cache.

    Shows a progress bar in the terminal and calls ``progress`` as bytes arrive. Raises
    ``ModelNotFound`` with what a person can do about it.
    """
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if folder.is_absolute() or name_or_path.startswith((".", "~")):
        raise ModelNotFound(f"There is no folder {name_or_path}.")
    return _download(name_or_path, progress)


def _download(name: str, progress: Progress) -> Path:
    progress(0.0, f"Looking up {name}")
    try:
        path = HfApi().snapshot_download(name, allow_patterns=FILES, tqdm_class=_reporting(name, progress))
    except HFValidationError as error:
        raise ModelNotFound(f"{name} is neither a folder nor a model hub name (owner/name).") from error
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(_how_to_get(name, "the model hub cannot be reached from here")) from error
    except HfHubHTTPError as error:
        raise ModelNotFound(_how_to_get(name, _reason(error))) from error
    except Exception as error:  # which HTTP library the hub's client uses depends on its version
        raise ModelNotFound(_how_to_get(name, f"the download broke off ({error})")) from error
    return Path(str(path))


def _reason(error: HfHubHTTPError) -> str:
    status = error.response.status_code
    if status in (401, 403, 404):
        return "the model hub knows no such model, or it needs an account's token (HF_TOKEN)"
    return f"the model hub answered with status {status}"


def _how_to_get(name: str, reason: str) -> str:
    return (
        f"Could not get {name}: {reason}. Check the name, or download the model's folder (config, tokenizer "
        "and *.safetensors) on a machine that reaches the hub, copy it here and start with "
        "MODEL=/path/to/the/folder."
    )


def _reporting(name: str, progress: Progress) -> type[Any]:
    """A progress bar for the terminal that reports its bytes to ``progress`` as well."""

    class ReportingBar(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.pop("name", None)  # the hub's own bars have names; tqdm knows none
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            shown: bool | None = super().update(n)
            if self.unit == "B" and self.total:
                done = min(1.0, self.n / self.total)
                progress(done, f"Downloading {name}: {self.n / 1e6:.0f} of {self.total / 1e6:.0f} MB")
            return shown

    return ReportingBar


def revision(path: Path) -> str:
    """12 hex digits that change when the weights do: the hub's commit, or a hash.

    The hash covers the configuration and, of each safetensors file, its header and size: reading
    gigabytes to name a model would cost more than the name is worth.
    """
    snapshot = SNAPSHOT.search(path.resolve().as_posix())
    if snapshot:
        return snapshot[1][:12]
    digest = hashlib.sha256((path / "config.json").read_bytes())
    for file in sorted(path.glob("*.safetensors")):
        digest.update(f"{file.name}:{file.stat().st_size}:".encode() + _header(file))
    return digest.hexdigest()[:12]


def _header(file: Path) -> bytes:
    """The JSON header of a safetensors file: its length in the first 8 bytes, little-endian."""
    with file.open("rb") as stream:
        return stream.read(int.from_bytes(stream.read(8), "little"))


def default_sampling(path: Path) -> dict[str, Any]:
    """The sampling settings in ``generation_config.json``; empty when there are none."""
    file = path / "generation_config.json"
    stated = json.loads(file.read_text()) if file.exists() else {}
    settings = {name: stated[name] for name in SAMPLING if stated.get(name) is not None}
    return {"temperature": 0.0} if stated.get("do_sample") is False else settings


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer, by the generation configuration or by the tokenizer."""
    stated = model.generation_config.eos_token_id
    ids = stated if isinstance(stated, list) else [stated]
    return frozenset(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None)
