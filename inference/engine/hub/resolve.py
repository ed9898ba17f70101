"""A model is a folder, a GGUF file, a folder of such, or a name on the model hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...errors import ModelNotFound
from ...gguf_header import is_gguf
from .download import download
from .gguf import convert, find_parts

Progress = Callable[[float, str], None]  # share done from 0 to 1, and what is being done


def resolve_model(name_or_path: str, progress: Progress) -> Path:
    """The folder of safetensors, configuration and tokenizer to load.

    A local folder is taken as it is. GGUF is converted the first time (``gguf.convert``), a hub name downloaded into
    the hub's cache. Calls ``progress`` meanwhile. Raises ``ModelNotFound`` or ``UnsupportedModel`` with what a person
    can do about it.
    """
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        return _folder(path.resolve(), progress)
    if path.is_file():
        return _file(path, progress)
    if path.is_absolute() or name_or_path.startswith((".", "~")) or path.suffix == ".gguf":
        raise ModelNotFound(f"There is no folder or file {name_or_path}.")
    return _folder(download(name_or_path, progress), progress)


def _folder(folder: Path, progress: Progress) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if not files or any(folder.glob("*.safetensors")):
        return folder
    models = {find_parts(file)[0] for file in files}
    if len(models) > 1:
        names = ", ".join(sorted(file.name for file in models))
        raise ModelNotFound(f"{folder} holds {len(models)} models: {names}. Name one of them: MODEL=FOLDER/FILE.")
    return convert(models.pop(), progress)


def _file(path: Path, progress: Progress) -> Path:
    if not is_gguf(path):
        raise ModelNotFound(f"{path} is no GGUF file. Of safetensors name the folder, with its config and tokenizer.")
    return convert(path, progress)
