"""What is offered on an empty page, by the model that is served."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatapp.web.suggestions import ANY, DEMO, SMOLLM2, suggestions


@pytest.mark.parametrize(
    ("model", "offered"),
    [("demo", DEMO), ("smollm2-135m-instruct", SMOLLM2), ("SmolLM2-1.7B", SMOLLM2), ("qwen3-0.6b", ANY), ("", ANY)],
)
def test_a_model_is_offered_what_it_does_well(model, offered):
    assert suggestions(model) == offered


def test_what_smollm2_is_offered_has_its_answers_on_record():
    kept = (Path(__file__).parents[2] / "docs" / "suggestions.md").read_text().split("## Tried and left out")[0]
    for suggestion in SMOLLM2:
        answers = kept.split(f"### {suggestion}\n")[1].split("\n### ")[0]
        assert [f"\n{number}. " in answers for number in range(1, 5)] == [True] * 4
