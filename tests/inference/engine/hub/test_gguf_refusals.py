# ruff: noqa: E501
"""What is not read is refused with a sentence, before anything is converted: other kinds, damaged and hostile files."""

from __future__ import annotations

import contextlib
import resource
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.engine.hub import resolve_model
from inference.errors import ModelError, ModelNotFound, UnsupportedModel
from inference.gguf_header import read_header
from tests.inference.engine.hub.gguf_files import write_gguf

Make = Callable[..., Path]
Change = Callable[[Any], None]
HUGE = 1 << 60


@pytest.fixture
def file(make_model: Make, tmp_path: Path) -> Path:
    write_gguf(make_model("llama"), tmp_path / "m.gguf")
    return tmp_path / "m.gguf"


def refused(path: Path, expected: str) -> None:
    with pytest.raises(UnsupportedModel, match=expected):
        resolve_model(str(path), lambda share, detail: None)


def changed(make_model: Make, tmp_path: Path, change: Change, model: str = "llama", **settings: Any) -> Path:
    write_gguf(make_model(model, **settings), tmp_path / "changed.gguf", change=change)
    return tmp_path / "changed.gguf"


def with_value(file: Path, key: str, kind: int, value: bytes) -> Path:
    """The same file, with one value replaced by one as long."""
    data = file.read_bytes()
    at = data.index(struct.pack("<Q", len(key)) + key.encode()) + 8 + len(key)
    file.write_bytes(data[:at] + struct.pack("<I", kind) + value + data[at + 4 + len(value) :])
    return file


def renamed(file: Path, before: str, after: str) -> Path:
    assert len(before) == len(after)
    file.write_bytes(file.read_bytes().replace(before.encode(), after.encode()))
    return file


def test_an_unknown_architecture_is_named_with_those_that_are_read(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b"llama", b"zzama"))
    refused(file, r"m\.gguf is of the architecture 'zzama'; those read are gemma, .*qwen3")


def test_a_mixture_of_experts_is_refused(make_model: Make, tmp_path: Path) -> None:
    refused(changed(make_model, tmp_path, lambda writer: writer.add_expert_count(8)), "mixture of experts")


def test_an_unknown_way_of_cutting_words_is_refused(file: Path) -> None:
    refused(renamed(file, "gpt-2", "gpt-9"), "cuts words in a way that is not read: tokenizer.ggml.pre is 'gpt-9'")


def test_an_unknown_kind_of_tokenizer_is_refused(file: Path) -> None:
    refused(renamed(file, "gpt2", "bert"), r"tokenizer of the kind 'bert'; gpt2 \(BPE\) and llama \(SentencePiece\)")


@pytest.mark.parametrize("kind", ["IQ4_NL", "IQ2_XXS", "TQ1_0", "MXFP4"])
def test_other_quantizations_are_refused_by_name(kind: str, make_model: Make, tmp_path: Path) -> None:
    number = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[number]
    extra = np.zeros((1, 256 // block * size), dtype=np.uint8)
    path = changed(make_model, tmp_path, lambda writer: writer.add_tensor("x.weight", extra, raw_dtype=number))
    refused(path, "has a tensor that is not known|quantized as " + kind)
    write_one(tmp_path / "one.gguf", "token_embd.weight", extra, number)
    with pytest.raises(UnsupportedModel, match=f"quantized as {kind}, which is not read"):
        check_only(tmp_path / "one.gguf")


def write_one(path: Path, name: str, raw: np.ndarray, kind: Any) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_tensor(name, raw, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def check_only(path: Path) -> None:
    from inference.engine.hub.gguf.parts import read_parts
    from inference.engine.hub.gguf.tensors import check_kind

    for tensor in read_parts([path]).tensors.values():
        check_kind(tensor)


def test_an_unknown_tensor_is_named(make_model: Make, tmp_path: Path) -> None:
    extra = np.zeros((4, 64), dtype=np.float32)
    path = changed(make_model, tmp_path, lambda writer: writer.add_tensor("blk.0.ssm_a.weight", extra))
    refused(path, r"tensor that is not known: 'blk\.0\.ssm_a\.weight'")


def test_a_missing_tensor_is_named(file: Path) -> None:
    refused(renamed(file, "blk.1.ffn_up.weight", "blk.7.ffn_up.weight"), r"lacks 1 .*model\.layers\.1\.mlp\.up_proj")


def test_a_vocabulary_alone_is_no_model(tmp_path: Path) -> None:
    write_one(tmp_path / "v.gguf", "output_norm.weight", np.zeros(64, dtype=np.float32), None)
    with pytest.raises(UnsupportedModel):
        resolve_model(str(tmp_path / "v.gguf"), lambda share, detail: None)


@pytest.mark.parametrize("length", [5, 23, 200, 3000, 60_000])
def test_a_file_that_is_cut_off_says_so(file: Path, length: int) -> None:
    file.write_bytes(file.read_bytes()[:length])
    refused(file, r"m\.gguf is damaged or not wholly there: it ends after [\d,]+ bytes")


def test_a_file_cut_off_within_its_last_tensor_says_so(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-200])
    refused(file, r"m\.gguf is not wholly there: it ends within .*Get the file again")


def test_numbers_that_are_none_are_found(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-64:] = b"\xff" * 64
    file.write_bytes(bytes(data))
    refused(file, "is damaged: .* has numbers that are none")


def header(tensors: int = 0, values: int = 0, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, values) + rest


def text(words: str, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(words) if length is None else length) + words.encode()


HOSTILE = {
    "2^60 tensors": header(tensors=HUGE),
    "2^60 values": header(values=HUGE),
    "a key of 2^60 letters": header(values=1, rest=text("k", HUGE) + b"\0" * 64),
    "a text of 2^63 letters": header(values=1, rest=text("k") + struct.pack("<IQ", 8, 1 << 63) + b"\0" * 64),
    "a list of 2^60 numbers": header(values=1, rest=text("k") + struct.pack("<IIQ", 9, 4, HUGE) + b"\0" * 64),
    "a list of 2^60 texts": header(values=1, rest=text("k") + struct.pack("<IIQ", 9, 8, HUGE) + b"\0" * 64),
    "lists in lists in lists": header(values=1, rest=text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 40),
    "an unknown type": header(values=1, rest=text("k") + struct.pack("<I", 99) + b"\0" * 64),
    "a tensor of -1 rows": header(tensors=1, rest=text("t") + struct.pack("<IQQIQ", 2, 8, 2**64 - 1, 0, 0) + b"\0" * 64),
    "a tensor of no rows": header(tensors=1, rest=text("t") + struct.pack("<IQQIQ", 2, 8, 0, 0, 0) + b"\0" * 64),
    "a tensor of 2^40 x 2^40": header(tensors=1, rest=text("t") + struct.pack("<IQQIQ", 2, 1 << 40, 1 << 40, 0, 0) + b"\0" * 64),
    "a tensor of 200 dimensions": header(tensors=1, rest=text("t") + struct.pack("<I", 200) + b"\1" * 3000),
    "a tensor beyond the end": header(tensors=1, rest=text("t") + struct.pack("<IQIQ", 1, 8, 0, HUGE) + b"\0" * 64),
    "an alignment of 0": header(1, 1, text("general.alignment") + struct.pack("<II", 4, 0) + text("t") + struct.pack("<IQIQ", 1, 8, 0, 0) + b"\0" * 99),
    "nothing but the name": b"GGUF",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_costs_a_sentence_and_no_memory(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(HOSTILE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(path, r"^hostile\.gguf is damaged or not wholly there")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # kB


@pytest.mark.parametrize(("version", "words"), [(1, "is GGUF version 1"), (3 << 24, "big-endian"), (77, "version 77")])
def test_other_versions_are_named(version: int, words: str, tmp_path: Path) -> None:
    (tmp_path / "old.gguf").write_bytes(header(version=version))
    refused(tmp_path / "old.gguf", words)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_header_with_any_bytes_changed_is_read_or_refused(data: st.DataObject) -> None:
    """Never another exception, never a hang."""
    import tempfile

    whole = bytearray(HOSTILE_BASE)
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(4, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any.gguf"
        path.write_bytes(bytes(whole))
        with contextlib.suppress(ModelError):
            read_header(path)


HOSTILE_BASE = header(
    tensors=1,
    values=3,
    rest=text("general.architecture") + struct.pack("<I", 8) + text("llama")
    + text("list") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
    + text("numbers") + struct.pack("<IIQ", 9, 5, 3) + b"\0" * 12
    + text("t") + struct.pack("<IQQIQ", 2, 8, 4, 0, 0) + b"\0" * 300,
)  # fmt: skip


@pytest.mark.parametrize(
    ("key", "kind", "value", "expected"),
    [
        ("llama.block_count", 4, struct.pack("<I", 20), "lacks"),
        ("llama.block_count", 4, struct.pack("<I", 4_000_000_000), "lacks tensors: it has 30 for 4,000,000,000 layers"),
        ("llama.block_count", 5, struct.pack("<i", -3), "says llama.block_count is -3"),
        ("llama.attention.head_count", 4, struct.pack("<I", 0), "0 heads"),
        ("llama.attention.head_count", 4, struct.pack("<I", 7), "7 heads"),
        ("llama.attention.layer_norm_rms_epsilon", 6, struct.pack("<f", float("nan")), "epsilon is nan"),
        ("llama.context_length", 6, struct.pack("<f", 1.5), "says llama.context_length is 1.5"),
    ],
)
def test_values_that_make_no_sense_are_named(file: Path, key: str, kind: int, value: bytes, expected: str) -> None:
    refused(with_value(file, key, kind, value), expected)


def test_a_list_of_something_else_is_no_vocabulary(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data.replace(b"tokenizer.ggml.tokens", b"tokenizer.ggml.tokenz"))
    refused(file, "does not say its tokenizer.ggml.tokens")


def test_what_is_no_gguf_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "weights.gguf").write_bytes(b"PK\3\4 and so on")
    with pytest.raises(ModelNotFound, match="is no GGUF file"):
        resolve_model(str(tmp_path / "weights.gguf"), lambda share, detail: None)
    (tmp_path / "empty.gguf").write_bytes(b"")
    with pytest.raises(ModelNotFound, match="is no GGUF file"):
        resolve_model(str(tmp_path / "empty.gguf"), lambda share, detail: None)
