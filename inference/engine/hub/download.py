"""Models by their names on the model hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tqdm.auto import tqdm  # type: ignore[import-untyped]

from ...errors import ModelNotFound

Progress = Callable[[float, str], None]

FILES = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]  # never code, never pickles


def download(name: str, progress: Progress) -> Path:
    """The folder in the hub's cache, downloaded where it is not there yet. Raises ``ModelNotFound`` with what to do.

    Shows a progress bar in the terminal and calls ``progress`` as bytes arrive.
    """
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
