"""What it costs to check what comes in, for a moment of each side."""

from __future__ import annotations

from pathlib import Path

from benchmarks.schemas import _loads, _sides, compare


def test_both_sides_read_the_same_out_of_every_load(tmp_path: Path):
    sides = _sides(tmp_path)
    for kind, text in _loads().values():
        before, now = (parse(text) for parse in sides[kind])
        assert type(before).__name__ == type(now).__name__
        assert getattr(before, "param", None) == getattr(now, "param", None)
        if kind == "calls" and hasattr(now, "messages"):
            assert (before.messages, before.sampling) == (now.messages, now.sampling)


def test_every_load_is_raced_and_every_line_counted():
    figures = compare(rounds=1, seconds=0.001)
    assert [row["load"] for row in figures["rows"]] == list(_loads())
    assert all(row["now_us"] > 0 for row in figures["rows"])
    assert figures["lines"]["calls"]["before"] == {"all": 334, "code": 248}
