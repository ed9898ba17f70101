"""A GGUF file is converted once: whole or not at all, by one start at a time, with its progress told."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import pytest

from inference.engine.hub import resolve_model
from inference.engine.hub.gguf import conversion
from inference.engine.loader import revision
from inference.engine.sampling_defaults import default_sampling
from inference.errors import ModelError, ModelNotFound, UnsupportedModel
from tests.inference.engine.hub.gguf_files import write_gguf

Make = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def file(make_model: Make, tmp_path: Path) -> Path:
    write_gguf(make_model("llama"), tmp_path / "m.gguf", "Q8_0")
    return tmp_path / "m.gguf"


def resolve(path: Path, seen: list[tuple[float, str]] | None = None) -> Path:
    told = [] if seen is None else seen
    return resolve_model(str(path), lambda share, detail: told.append((share, detail)))


def test_the_first_start_converts_and_later_ones_find_it(file: Path) -> None:
    first: list[tuple[float, str]] = []
    later: list[tuple[float, str]] = []
    folder = resolve(file, first)
    assert resolve(file, later) == folder
    assert (first[0], first[-1]) == ((0.0, "Converting m.gguf"), (1.0, "Converting m.gguf"))
    assert [share for share, _ in first] == sorted(share for share, _ in first)
    assert later == []
    assert sorted(found.name for found in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "source.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_a_folder_with_one_gguf_model_is_that_model(file: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    file.rename(tmp_path / "folder" / "m.gguf")
    assert resolve(tmp_path / "folder") == resolve(tmp_path / "folder" / "m.gguf")


def test_a_folder_with_several_asks_which(file: Path, tmp_path: Path) -> None:
    shutil.copy(file, tmp_path / "other.gguf")
    with pytest.raises(ModelNotFound, match=r"holds 2 models: m\.gguf, other\.gguf\. Name one"):
        resolve(tmp_path)


def test_a_folder_with_safetensors_is_taken_as_it_is(file: Path, make_model: Make, tmp_path: Path) -> None:
    folder = shutil.copytree(make_model("llama"), tmp_path / "both")
    shutil.copy(file, folder)
    assert resolve(folder) == folder


def test_a_file_needs_no_gguf_in_its_name(file: Path) -> None:
    blob = file.rename(file.with_name("sha256-0f3a"))
    assert (resolve(blob) / "model.safetensors").exists()


def test_a_changed_file_is_converted_anew_and_the_old_folder_goes(file: Path, cache: Path, make_model: Make) -> None:
    before = resolve(file)
    shutil.rmtree(file.with_suffix(""))
    write_gguf(make_model("llama"), file, "Q4_0")
    after = resolve(file)
    assert before != after
    assert [found.name for found in cache.iterdir() if found.is_dir()] == [after.name]


def test_two_quantizations_of_a_model_are_two_revisions(file: Path, make_model: Make, tmp_path: Path) -> None:
    write_gguf(make_model("llama"), tmp_path / "four.gguf", "Q4_0")
    assert revision(resolve(file)) != revision(resolve(tmp_path / "four.gguf"))


def test_what_an_interrupted_conversion_left_is_removed(file: Path, cache: Path) -> None:
    left = cache / "old-0123.partial"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    resolve(file)
    assert not left.exists()


def test_a_conversion_that_fails_leaves_nothing(file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("inference.engine.hub.gguf.folder.write_weights", fail)
    with pytest.raises(ModelError, match=r"m\.gguf could not be converted.*No space left on device"):
        resolve(file)
    assert [found.name for found in cache.iterdir()] == ["lock"]


def test_a_conversion_that_is_killed_leaves_no_model_and_is_done_by_the_next(file: Path, cache: Path) -> None:
    """The process is killed while it writes."""
    script = (
        "import sys, time; from inference.engine.hub import resolve_model\n"
        "def tell(share, detail):\n"
        "    if share > 0.3: print('writing', flush=True); time.sleep(60)\n"
        f"resolve_model({str(file)!r}, tell)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "writing\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [found.suffix for found in cache.iterdir() if found.is_dir()] == [".partial"]
    resolve(file)
    assert [found.suffix for found in cache.iterdir() if found.is_dir()] == [""]


def test_of_two_starts_one_converts_and_the_other_waits(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, seen = [], [list[tuple[float, str]](), list[tuple[float, str]]()]
    really = conversion._make

    def slowly(*args: Any) -> None:
        made.append(args)
        time.sleep(0.5)
        really(*args)

    monkeypatch.setattr(conversion, "_make", slowly)
    starts = [threading.Thread(target=resolve, args=(file, told)) for told in seen]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert len(made) == 1
    assert sorted(told[0][1] for told in seen) == [
        "Converting m.gguf",
        "Waiting for another start that converts m.gguf",
    ]


def test_without_room_on_the_disk_it_says_so_before_it_begins(file: Path, cache: Path, monkeypatch: Any) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(ModelError, match=r"takes 0\.0 GB in .* where 0\.0 GB are free\. Make room, or name a folder"):
        resolve(file)
    assert [found.name for found in cache.iterdir()] == ["lock"]


def test_a_split_model_is_one_model_whichever_part_is_named(make_model: Make, tmp_path: Path) -> None:
    reference = write_gguf(make_model("llama"), tmp_path / "whole.gguf", "Q8_0")
    split(tmp_path / "whole.gguf", 3)
    (tmp_path / "whole.gguf").unlink()
    shutil.rmtree(reference)
    parts = sorted(tmp_path.glob("*.gguf"))
    assert len(parts) == 3
    assert len({resolve(part) for part in parts} | {resolve(tmp_path)}) == 1


def split(whole: Path, count: int) -> None:
    """As ``llama-gguf-split`` does: all values in the first, the tensors in turn."""
    reader = gguf.GGUFReader(whole)
    for number in range(count):
        part = whole.with_name(f"{whole.stem}-{number + 1:05}-of-{count:05}.gguf")
        writer = gguf.GGUFWriter(str(part), "llama")
        for field in list(reader.fields.values())[3:] if number == 0 else ():
            if field.name != "general.architecture":
                kinds = [*field.types, None]
                writer.add_key_value(field.name, field.contents(), kinds[0], kinds[1])
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", count)
        for tensor in reader.tensors[number::count]:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


def test_a_part_that_lacks_is_named(file: Path) -> None:
    part = file.rename(file.with_name("m-00002-of-00003.gguf"))
    with pytest.raises(ModelNotFound, match=r"is one of 3 parts; m-00001-of-00003\.gguf is not beside it"):
        resolve(part)


def test_parts_of_other_models_are_not_taken(file: Path) -> None:
    for number in (1, 2):
        shutil.copy(file, file.with_name(f"x-0000{number}-of-00002.gguf"))
    with pytest.raises(UnsupportedModel, match=r"says that it is part 0 \(from 0\) of 1|of 2"):
        resolve(file.with_name("x-00001-of-00002.gguf"))


@pytest.mark.parametrize("name", ["x-00000-of-00000.gguf", "..-00001-of-00002.gguf", "x-99999-of-99999.gguf"])
def test_names_that_play_tricks_find_nothing(file: Path, name: str) -> None:
    part = file.rename(file.with_name(name))
    with pytest.raises(ModelNotFound, match=r"is not beside it|one of no parts"):
        resolve(part)


def test_sampling_settings_in_the_file_become_the_models_own(make_model: Make, tmp_path: Path) -> None:
    def recommend(writer: Any) -> None:
        writer.add_float32("general.sampling.temp", 0.2)
        writer.add_float32("general.sampling.top_p", 0.9)
        writer.add_int32("general.sampling.top_k", 40)

    write_gguf(make_model("llama"), tmp_path / "m.gguf", change=recommend)
    assert default_sampling(resolve(tmp_path / "m.gguf")) == {"temperature": 0.2, "top_p": 0.9, "top_k": 40}


def test_without_a_told_cache_it_lies_with_the_users_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHATAPP_MODEL_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert conversion.cache_folder() == tmp_path / "chatapp" / "models"


def test_a_conversion_takes_little_memory(make_model: Make, tmp_path: Path) -> None:
    """A hundred megabytes of weights cost far less to convert than they take: a tensor's rows come in pieces."""
    wide = make_model("llama", vocab_size=400, hidden_size=1024, intermediate_size=4096, head_dim=256)
    write_gguf(wide, tmp_path / "m.gguf", "Q8_0")
    script = (
        "import resource, sys; import inference.engine; from inference.engine.hub import resolve_model\n"
        "from inference.engine.hub.gguf import folder\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak(); resolve_model(sys.argv[1], lambda share, detail: None); print(peak() - before)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "m.gguf")]
    out = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=dict(os.environ)).stdout
    size = (resolve(tmp_path / "m.gguf") / "model.safetensors").stat().st_size
    assert size > 80_000_000
    assert int(out) * 1024 < 0.8 * size  # all of it at once would be twice as much, in float32
