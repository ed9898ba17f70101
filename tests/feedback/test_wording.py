from datetime import UTC, date, datetime, timedelta

import pytest

from feedback.reports import Counts, Period
from feedback.statistics import Share
from feedback.wording import approval_caution, approval_headline, change, day_summary, freshness, percent, period_name

MINUTE = timedelta(minutes=1)
COUNTED = datetime(2026, 3, 10, 14, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("share", "words"),
    [(None, "–"), (0.0, "0%"), (0.004, "0.4%"), (0.0994, "9.9%"), (0.0996, "10%"), (0.784, "78%"), (1.0, "100%")],
)
def test_percent_has_a_decimal_only_when_small(share: float | None, words: str) -> None:
    assert percent(share) == words


def test_a_change_that_may_be_none_is_called_unclear() -> None:
    expected = "No clear change from the 28 days before: +3 points (95%: −8 to +14)."
    assert change(Share(80, 100), Share(77, 100), 28) == expected


def test_a_clear_change_says_which_way_and_how_far() -> None:
    assert change(Share(90, 100), Share(60, 100), 7) == "Up 30 points from the 7 days before (95%: +18 to +41)."
    assert change(Share(60, 100), Share(90, 100), 7) == "Down 30 points from the 7 days before (95%: −41 to −18)."


def test_a_change_on_few_ratings_is_not_judged() -> None:
    expected = "Too few to compare with the 7 days before, which had 1 of 2."
    assert change(Share(90, 100), Share(1, 2), 7) == expected
    assert change(Share(1, 2), Share(0, 0), 7) == "Nothing in the 7 days before to compare with."


def test_few_ratings_are_shown_as_a_count_and_not_as_a_share() -> None:
    assert approval_headline(Share(7, 9)) == "7 of 9"
    assert approval_caution(Share(7, 9)) == "Too few ratings to say: a share is shown from 10 on."
    assert approval_headline(Share(7, 10)) == "70%"
    assert approval_caution(Share(7, 10)) == "95% interval 40–89%, from 10 ratings"
    assert approval_headline(Share(0, 0)) == "–"


def test_a_day_is_summed_up_in_one_line() -> None:
    day = date(2026, 3, 10)
    assert day_summary(day, None) == "Tue 10 Mar: no answers"
    assert day_summary(day, Counts(answers=1)) == "Tue 10 Mar: 1 answer, none rated"
    rated = Counts(answers=1200, rated=4, up=3, down=1)
    assert day_summary(day, rated) == "Tue 10 Mar: 75% good (95%: 30–95%), 4 ratings of 1,200 answers"


def test_a_period_names_the_year_of_its_beginning_only_when_it_is_another() -> None:
    assert period_name(Period(date(2026, 2, 10), date(2026, 3, 10))) == "10 Feb – 10 Mar 2026"
    assert period_name(Period(date(2025, 12, 31), date(2026, 1, 6))) == "31 Dec 2025 – 6 Jan 2026"


def test_freshness_says_when_the_next_count_is_due() -> None:
    assert freshness(COUNTED, MINUTE, COUNTED + MINUTE / 2) == "Counted at 14:02 UTC. Next at 14:03 UTC."
    assert freshness(COUNTED, MINUTE, COUNTED + 2 * MINUTE) == "Counted at 14:02 UTC. Next any moment now."


def test_freshness_says_so_when_counting_has_stopped_or_never_began() -> None:
    late = "It should run every 60 s and is late: the background worker may not be running."
    assert freshness(COUNTED, MINUTE, COUNTED + 4 * MINUTE) == f"Counted at 14:02 UTC. {late}"
    assert freshness(COUNTED, MINUTE, COUNTED + timedelta(days=1)) == f"Counted at 14:02 UTC on Tue 10 Mar. {late}"
    never = "Nothing has been counted yet. Counting runs every 60 s, in the background worker."
    assert freshness(None, MINUTE, COUNTED) == never
