"""What a model's folder says of the model."""

from __future__ import annotations

from pathlib import Path

from inference.engine.loader import revision


def write_weights(folder: Path, header: bytes = b"{}", config: str = "{}") -> str:
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"data")
    return revision(folder)


def test_a_revision_is_stable_and_changes_with_the_weights_or_the_configuration(tmp_path: Path) -> None:
    first = write_weights(tmp_path)
    assert len(first) == 12
    assert write_weights(tmp_path) == first
    assert len({first, write_weights(tmp_path, b'{"a":1}'), write_weights(tmp_path, config='{"b":1}')}) == 3
