import pytest

from benchmarks.figures import Answer, rate, steady_rate, summarise


def answer(*at: float, due: float = 0.0, finished: bool = True) -> Answer:
    return Answer(due, 10, list(at), finished=finished)


def test_a_waves_rate_is_all_its_tokens_by_its_last_one() -> None:
    waves = [{"a": answer(1.0, 2.0), "b": answer(1.0, 2.0, 4.0)}, {"a": answer(0.5, 1.0)}]
    assert rate(waves) == 7 / 5.0


def test_the_steady_rate_counts_only_while_every_answer_is_written() -> None:
    wave = {"early": answer(1.0, 2.0, 3.0, 4.0), "late": answer(2.5, 3.0, 3.5, 9.0)}
    assert steady_rate([wave]) == 4 / 1.5  # from 2.5 to 4.0: two of each


def test_first_tokens_count_from_when_the_ask_was_due() -> None:
    assert answer(1.5, 1.75, due=1.0).first == 0.5


def test_an_answer_without_tokens_took_for_ever() -> None:
    assert answer().first == float("inf")
    assert answer().mean_gap == float("inf")


def test_a_summary_takes_the_median_round_and_all_gaps() -> None:
    rounds = [[{"a": answer(1.0, 2.0)}], [{"a": answer(0.25, 0.5)}], [{"a": answer(0.5, 1.0, finished=False)}]]
    figures = summarise(rounds)
    assert figures["tokens_per_second"] == 2.0
    assert (figures["slowest_round"], figures["fastest_round"]) == (1.0, 4.0)
    assert (figures["first_token_p50_ms"], figures["gap_p50_ms"], figures["gap_p99_ms"]) == (500.0, 500.0, 1000.0)
    assert (figures["tokens"], figures["unfinished"], figures["rounds"]) == (6, 1, 3)


def test_a_round_without_tokens_has_a_rate_of_nothing() -> None:
    assert rate([{"a": answer()}]) == pytest.approx(0.0)
