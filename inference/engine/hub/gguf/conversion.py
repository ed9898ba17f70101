"""A GGUF file becomes, once, a folder that the engine loads: weights, configuration, tokenizer.

The folder's name says which file it is of and by which converter; it is made beside its place and renamed when it is
whole, by one process at a time. What an interrupted conversion has left is removed by the next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from tqdm.auto import tqdm  # type: ignore[import-untyped]

from ....errors import ModelError
from .parts import find_parts

logger = logging.getLogger(__name__)

Progress = Callable[[float, str], None]

CONVERTER = "1"  # a new one for every change of what is written
CACHE = "CHATAPP_MODEL_CACHE"
ENDS_READ = 1 << 20  # bytes of a file's beginning and end that its folder's name depends on
SPARE = 64 << 20  # bytes of disk left to others
PARTIAL, SOURCE = ".partial", "source.json"


def convert(file: Path, progress: Progress) -> Path:
    """The folder of ``file``, which may be one of several parts; made now unless it is there.

    Shows a progress bar in the terminal and calls ``progress``. Raises ``ModelNotFound``, ``UnsupportedModel``, and
    ``ModelError`` where the disk has no room.
    """
    parts = find_parts(file.absolute())
    cache = cache_folder()
    folder = cache / _key(parts)
    if (folder / SOURCE).exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache, file.name, progress):
        if not (folder / SOURCE).exists():
            _clear(cache, parts[0])
            _make(parts, folder, progress)
    return folder


def cache_folder() -> Path:
    """Where converted models are kept: ``CHATAPP_MODEL_CACHE``, else with the user's other caches."""
    told = os.environ.get(CACHE)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(told) if told else Path(base) / "chatapp" / "models"


def _key(parts: Sequence[Path]) -> str:
    """Changes with the files' ends, sizes and times, and with whatever decides what is written."""
    digest = hashlib.sha256(f"{CONVERTER} {version('gguf')} {version('tokenizers')}".encode())
    for part in parts:
        told = part.stat()
        digest.update(f"{part.name} {told.st_size} {told.st_mtime_ns} ".encode())
        with part.open("rb") as stream:
            digest.update(stream.read(ENDS_READ))
            stream.seek(max(0, told.st_size - ENDS_READ))
            digest.update(stream.read(ENDS_READ))
    return f"{parts[0].stem[:80]}-{digest.hexdigest()[:16]}"


@contextmanager
def _alone(cache: Path, name: str, progress: Progress) -> Iterator[None]:
    """One conversion at a time in this folder, of all processes; the lock ends with its process."""
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(0.0, f"Waiting for another start that converts {name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(cache: Path, source: Path) -> None:
    """Remove what interrupted conversions left, and what was made of an earlier content of the same file."""
    for partial in cache.glob(f"*{PARTIAL}"):
        shutil.rmtree(partial, ignore_errors=True)
    for told in cache.glob(f"*/{SOURCE}"):
        if json.loads(told.read_text()).get("file") == str(source):
            logger.info("%s has changed; what was made of it before is removed", source)
            shutil.rmtree(told.parent, ignore_errors=True)


def _make(parts: Sequence[Path], folder: Path, progress: Progress) -> None:
    from .folder import describe, write_folder  # with the libraries that only a conversion needs

    name = parts[0].name
    progress(0.0, f"Converting {name}")
    described = describe(parts)
    _require_room(folder.parent, described.size, name)
    partial = folder.with_name(folder.name + PARTIAL)
    partial.mkdir()
    try:
        with _bar(described.size, name, progress) as tell:
            write_folder(described, partial, tell)
        (partial / SOURCE).write_text(json.dumps({"file": str(parts[0]), "converter": CONVERTER}))
        _rest(partial)
        partial.rename(folder)
    except OSError as error:
        raise ModelError(f"{name} could not be converted: {error.strerror or error} ({folder.parent}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # of one that is whole there is nothing under this name


def _require_room(cache: Path, size: int, name: str) -> None:
    free = shutil.disk_usage(cache).free
    if size + SPARE > free:
        raise ModelError(
            f"Converting {name} takes {size / 1e9:.1f} GB in {cache}, where {free / 1e9:.1f} GB are free. "
            f"Make room, or name a folder on another disk with {CACHE}."
        )


@contextmanager
def _bar(size: int, name: str, progress: Progress) -> Iterator[Callable[[int], None]]:
    done = 0
    with tqdm(total=size, desc=f"Converting {name}", unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def tell(written: int) -> None:
            nonlocal done
            done += written
            bar.update(written)  # which counts only on a terminal
            progress(min(1.0, done / size), f"Converting {name}")

        yield tell


def _rest(folder: Path) -> None:
    """On the disk before the folder has its name: a machine that loses power must not keep a hollow one."""
    for file in folder.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
