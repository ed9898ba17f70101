from pathlib import Path

import pytest

from benchmarks.quality import agreement, measure


def test_agreement_is_the_length_of_the_common_beginning() -> None:
    assert agreement([1, 2, 3, 4], [1, 2, 9, 4]) == 2
    assert agreement([1, 2], [1, 2]) == 2


def test_float32_agrees_with_itself(llama: Path) -> None:
    figures = measure(llama, 1, {"dtype": "float32"})
    assert figures["top1"] == 1.0
    assert figures["agreement_mean"] == 64
    assert figures["perplexity"] == pytest.approx(figures["reference_perplexity"], rel=1e-3)
