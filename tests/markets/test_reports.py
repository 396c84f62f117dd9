import numpy as np
import pytest

from markets import Conditions, chance
from markets.reports import Reports

N = 2000


def reported(conditions: Conditions, days: int, units: np.ndarray) -> np.ndarray:
    """Units by (day known, day sold), summed over listings."""
    reports = Reports(conditions, chance.keys(0, units.size))
    table = np.zeros((days, days), np.int64)
    for day in range(days):
        sold = units if day < 20 else np.zeros_like(units)
        known, late = reports.of(day, sold)
        table[day, day] += known.sum()
        assert (late.day < day).all()
        np.add.at(table[day], late.day, late.units)
    return table


def test_by_default_all_is_known_at_once() -> None:
    known, late = Reports(Conditions(), chance.keys(0, 3)).of(0, np.array([4, 0, 7]))
    assert known.tolist() == [4, 0, 7]
    assert late.row.size == late.day.size == late.units.size == 0


def test_what_is_late_comes_once_and_in_full() -> None:
    units = np.full(N, 6)
    table = reported(Conditions(prompt=0.5, delay=3.0), 400, units)
    np.testing.assert_array_equal(table.sum(axis=0)[:20], 6 * N)


def test_a_delay_of_one_day_is_the_next_day() -> None:
    table = reported(Conditions(prompt=0.0), 25, np.full(N, 2))
    expected = np.zeros((25, 25), np.int64)
    expected[np.arange(1, 21), np.arange(20)] = 2 * N
    np.testing.assert_array_equal(table, expected)


@pytest.mark.statistical
def test_shares_and_delays_are_as_stated() -> None:
    # False alarms: three z values at 4.5, below 3e-5; seeded.
    units = np.full(N, 10)
    table = reported(Conditions(prompt=0.3, delay=4.0, lost=0.25), 400, units)
    prompt = np.trace(table)
    sold = 20 * N * 10
    assert abs(prompt - 0.3 * sold) / (sold * 0.21) ** 0.5 < 4.5
    known, of = np.nonzero(np.tril(table, -1))
    late = table[known, of]
    # 40,000 listing-days, each lost as a whole or reported at one time; 7 units on average
    arrived = late.sum() / 7
    assert abs(arrived - 0.75 * 20 * N) / (20 * N * (0.1875 + 0.75 * 0.05)) ** 0.5 < 4.5
    wait = ((known - of) * late).sum() / late.sum()
    assert abs(wait - 4.0) / (12.0 * 1.05 / (0.75 * 20 * N)) ** 0.5 < 4.5


def test_what_is_lost_never_comes() -> None:
    table = reported(Conditions(prompt=0.5, lost=1.0), 60, np.full(N, 4))
    assert np.tril(table, -1).sum() == 0
    assert 0 < np.trace(table) < 80 * N


def test_a_listing_reports_alike_alone_and_among_others() -> None:
    conditions, keys = Conditions(prompt=0.4, delay=2.0, lost=0.2), chance.keys(0, 50)
    many, one = Reports(conditions, keys), Reports(conditions, keys[7:8])
    for day in range(30):
        known, late = many.of(day, np.full(50, 9))
        alone, late_alone = one.of(day, np.array([9]))
        assert alone[0] == known[7]
        mine = late.row == 7
        assert late_alone.units.tolist() == late.units[mine].tolist()
        assert late_alone.day.tolist() == late.day[mine].tolist()
