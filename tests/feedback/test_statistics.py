import pytest

from feedback.statistics import Interval, Share, difference, wilson_interval


# R. G. Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 17 (1998), table I
@pytest.mark.parametrize(
    ("part", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_equals_the_published_values(part: int, whole: int, low: float, high: float) -> None:
    interval = wilson_interval(part, whole)
    assert interval is not None
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_interval_mirrors_when_good_and_bad_change_places() -> None:
    one, other = wilson_interval(3, 11), wilson_interval(8, 11)
    assert one is not None
    assert other is not None
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low), abs=1e-15)


def test_interval_ends_are_exact_at_none_and_at_all() -> None:
    for whole in (1, 3, 7, 49, 1000):
        none, everything = wilson_interval(0, whole), wilson_interval(whole, whole)
        assert none is not None
        assert everything is not None
        assert none.low == 0.0
        assert everything.high == 1.0


def test_nothing_to_divide_is_none_and_not_zero() -> None:
    assert Share(0, 0).value is None
    assert Share(0, 0).interval is None
    assert difference(Share(0, 0), Share(1, 2)) is None
    assert difference(Share(1, 2), Share(0, 0)) is None


def test_share_of_some_is_their_ratio() -> None:
    assert Share(3, 4).value == 0.75
    assert Share(0, 4).value == 0.0


# R. G. Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17
# (1998), table II, method 10
@pytest.mark.parametrize(
    ("now", "before", "low", "high"),
    [
        (Share(56, 70), Share(48, 80), 0.0524, 0.3339),
        (Share(9, 10), Share(3, 10), 0.1705, 0.8090),
        (Share(5, 56), Share(0, 29), -0.0381, 0.1926),
        (Share(0, 10), Share(0, 10), -0.2775, 0.2775),
    ],
)
def test_difference_equals_the_published_values(now: Share, before: Share, low: float, high: float) -> None:
    found = difference(now, before)
    assert found is not None
    assert (round(found.interval.low, 4), round(found.interval.high, 4)) == (low, high)


def test_difference_is_clear_only_when_its_interval_leaves_out_zero() -> None:
    clear, unclear = difference(Share(56, 70), Share(48, 80)), difference(Share(5, 56), Share(0, 29))
    assert clear is not None
    assert unclear is not None
    assert clear.clear
    assert not unclear.clear


def test_an_interval_contains_its_ends() -> None:
    assert 0.25 in Interval(0.25, 0.5)
    assert 0.5 in Interval(0.25, 0.5)
    assert 0.51 not in Interval(0.25, 0.5)
