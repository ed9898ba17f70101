"""Whoever takes part in the benchmark of embeddings gives the same vectors, in the order of the texts."""

from __future__ import annotations

import json
import sys

import numpy as np

from benchmarks import embeddings
from inference.embed.packaged import packaged_model


def test_all_sides_give_the_same_vectors():
    texts = embeddings.make_texts("mixed", 70, 3)
    with embeddings.peers(packaged_model()) as ready:
        found = {name: encode(texts) for name, encode in ready.items()}
    assert {"ours", "queue", "transformers"} <= found.keys()
    assert found["ours"].shape == (70, 384)
    for name, vectors in found.items():
        assert np.abs(vectors - found["ours"]).max() < 1e-4, name


def test_a_run_tells_every_side_and_keeps_its_figures(monkeypatch, tmp_path, capsys):
    kept = tmp_path / "figures.json"
    asked = ["--texts", "6", "--rounds", "1", "--workloads", "short", "--json", str(kept)]
    monkeypatch.setattr(sys, "argv", ["embeddings", *asked])
    embeddings.main()
    result = json.loads(kept.read_text())
    assert result["cases"]["short"]["transformers"]["texts_per_second"] > 0
    assert result["cases"]["short"].keys() | result["missing"].keys() >= {"ours", "queue", "sentence-transformers"}
    assert "ours is" in capsys.readouterr().out
