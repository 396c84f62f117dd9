from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from small_histories import history_of

from markets import SALES_COLUMNS, Calendar, History

MONDAY = date(2024, 1, 1)
EPOCH = date(1970, 1, 1)


def record(units: dict[date, int]) -> History:
    rows = [
        ("a", datetime(d.year, d.month, d.day, 9, tzinfo=UTC), 2.0, sold, None)
        for d, sold in units.items()
    ]
    listings = history_of([{"listing_id": "a"}], [("a", 1, 1.0, 1, None)]).listings
    return History(listings, pl.DataFrame(rows, schema=SALES_COLUMNS, orient="row"), {})


def number(day: date) -> int:
    return (day - EPOCH).days


def test_weekdays_by_hand() -> None:
    sold = (1, 2, 3, 4, 5, 6, 7)
    days = {MONDAY + timedelta(i): sold[i % 7] for i in range(14)}
    found = Calendar.from_history(record(days))
    np.testing.assert_allclose(found.weekday, np.array(sold) / 4)
    np.testing.assert_array_equal(found.month, 1.0)
    assert found.arrival.tolist() == [number(MONDAY)]
    dates = np.array([number(MONDAY + timedelta(i)) for i in range(7)])
    np.testing.assert_allclose(found.factor(dates), np.array(sold) / 4)


def test_months_by_hand_and_one_where_there_is_no_record() -> None:
    days = {date(2024, 1, 1) + timedelta(i): 3 for i in range(14)}
    days |= {date(2024, 4, 1) + timedelta(i): 9 for i in range(14)}
    found = Calendar.from_history(record(days))
    expected = np.ones(12)
    expected[[0, 3]] = 0.5, 1.5
    np.testing.assert_allclose(found.month, expected)
    np.testing.assert_allclose(found.weekday, 1.0)
    date_of = np.array([number(date(2030, 1, 31)), number(date(2030, 2, 1))])
    np.testing.assert_allclose(found.factor(date_of), [0.5, 1.0])


def test_a_day_without_sales_is_still_looked_at() -> None:
    days = {MONDAY + timedelta(i): 10 for i in range(42) if i % 7 != 5}
    found = Calendar.from_history(record(days))
    # 7/6 on six days and 0.2 for none at all, then scaled to a mean of 1
    scale = (6 * 7 / 6 + 0.2) / 7
    expected = np.full(7, 7 / 6 / scale)
    expected[5] = 0.2 / scale
    np.testing.assert_allclose(found.weekday, expected)


def test_a_record_by_weeks_knows_no_weekdays() -> None:
    weeks = {MONDAY + timedelta(7 * i): 10 + i for i in range(40)}
    np.testing.assert_array_equal(Calendar.from_history(record(weeks)).weekday, 1.0)


def test_a_record_without_units_knows_nothing() -> None:
    days = {MONDAY + timedelta(i): 0 for i in range(40)}
    found = Calendar.from_history(record(days))
    np.testing.assert_array_equal(found.weekday, 1.0)
    np.testing.assert_array_equal(found.month, 1.0)


@pytest.mark.parametrize("day", [date(1969, 12, 31), date(1970, 1, 1), date(2024, 2, 29)])
def test_dates_find_their_weekday_and_month(day: date) -> None:
    found = Calendar(np.arange(7.0), 10.0 * np.arange(12.0), np.zeros(1, np.int64))
    factor = found.factor(np.array([number(day)]))[0]
    assert factor == day.weekday() * 10.0 * (day.month - 1)
