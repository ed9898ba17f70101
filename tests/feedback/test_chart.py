from datetime import date

from feedback.chart import BASE, TOP, draw_chart
from feedback.reports import Counts, Period

WEEK = Period(date(2026, 3, 4), date(2026, 3, 10))


def test_a_day_nobody_rated_has_no_point_and_no_line_across_it() -> None:
    rated = Counts(answers=5, rated=4, up=3, down=1)
    by_day = {WEEK.dates[0]: rated, WEEK.dates[1]: Counts(answers=9), WEEK.dates[2]: rated, WEEK.dates[3]: rated}
    chart = draw_chart(WEEK, by_day)
    assert [point.x for point in chart.points] == [7.143, 35.714, 50.0]
    assert [(a.x, b.x) for a, b in chart.lines] == [(35.714, 50.0)]
    assert len(chart.days) == 7


def test_a_point_stands_at_its_share_with_its_interval_around_it() -> None:
    chart = draw_chart(WEEK, {WEEK.dates[6]: Counts(answers=20, rated=4, up=3, down=1)})
    (point,) = chart.points
    assert point.y == TOP + 0.25 * (BASE - TOP)
    assert (point.high, point.low) == (19.12, 149.87)  # 95.44% and 30.06% of four ratings


def test_the_area_of_a_point_grows_with_its_ratings() -> None:
    by_day = {WEEK.dates[0]: Counts(40, 40, 40, 0), WEEK.dates[1]: Counts(10, 10, 10, 0)}
    first, second = draw_chart(WEEK, by_day).points
    assert (first.radius, second.radius) == (7.0, 3.5)


def test_ticks_are_counted_back_from_the_last_day() -> None:
    month = draw_chart(Period.ending(WEEK.last, 28), {})
    assert [tick.label for tick in month.x_ticks] == ["17 Feb", "24 Feb", "3 Mar", "10 Mar"]
    quarter = draw_chart(Period.ending(WEEK.last, 90), {})
    assert len(quarter.x_ticks) == 6
    assert quarter.x_ticks[-1].label == "10 Mar"
    assert len(draw_chart(WEEK, {}).x_ticks) == 7
