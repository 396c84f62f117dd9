"""The exact programme, held against brute force, a closed form, and simulation."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.stock import programme
from markets import Buyers, Conditions, Season, chance, load_catalogue
from markets.inventory import clairvoyant_programme


def brute_force(prices: list[float], rates: list[list[float]], stock: int) -> float:
    """The best of all policies that name a price for every day and stock, each followed in full."""
    states = [(day, left) for day in range(len(rates)) for left in range(1, stock + 1)]
    best = 0.0
    for chosen in itertools.product(range(len(prices)), repeat=len(states)):
        arm = dict(zip(states, chosen, strict=True))
        takings, chances = 0.0, {stock: 1.0}
        for day, rate in enumerate(rates):
            after: dict[int, float] = {}
            for left, chance_of in chances.items():
                k = arm.get((day, left), 0)
                beyond = 1.0
                for sold in range(left + 1):
                    mass = math.exp(-rate[k]) * rate[k] ** sold / math.factorial(sold)
                    mass = beyond if sold == left else mass
                    beyond -= mass
                    takings += chance_of * mass * prices[k] * sold
                    after[left - sold] = after.get(left - sold, 0.0) + chance_of * mass
            chances = after
        best = max(best, takings)
    return best


@pytest.mark.parametrize(
    ("days", "stock", "arms"), [(1, 3, 3), (2, 2, 3), (3, 2, 2), (2, 3, 2), (3, 3, 2)]
)
def test_no_policy_beats_it(days: int, stock: int, arms: int) -> None:
    stream = np.random.default_rng((days, stock, arms))
    prices = np.sort(stream.uniform(1, 5, (4, arms)))
    rates = -np.sort(-stream.uniform(0.05, 2.5, (4, days, arms)))
    solved = programme(prices, rates, days, stock)
    for i in range(4):
        best = brute_force(prices[i].tolist(), rates[i].tolist(), stock)
        assert abs(solved.value[i, 0, stock] - best) <= 1e-9


def test_fine_days_come_to_the_closed_form() -> None:
    # Gallego and van Ryzin 1994, section 2.3: rate a exp(-p), continuous time.
    a, stock, slices = 20.0, 5, 2000
    prices = np.linspace(0.5, 6, 400)[None]
    solved = programme(prices, a * np.exp(-prices) / slices, slices, stock)
    exact = math.log(sum((a / math.e) ** i / math.factorial(i) for i in range(stock + 1)))
    assert solved.value[0, 0, stock] == pytest.approx(exact, rel=1e-4)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 30), days=st.integers(1, 6), stock=st.integers(0, 8))
def test_more_stock_and_more_days_are_worth_more_and_cost_less(
    seed: int, days: int, stock: int
) -> None:
    stream = np.random.default_rng(seed)
    prices = np.sort(stream.uniform(1, 5, (3, 6)))
    rates = -np.sort(-stream.uniform(0, 3, (3, 6)))
    value = programme(prices, rates, days, stock).value
    assert (np.diff(value, axis=2) >= -1e-12).all()
    assert (np.diff(value, axis=1) <= 1e-12).all()
    assert (value[:, -1] == 0).all()
    assert (value[:, :, 0] == 0).all()
    assert (value[:, 0] <= prices[:, -1:] * np.arange(stock + 1) + 1e-12).all()


def test_blocks_make_no_difference() -> None:
    stream = np.random.default_rng(0)
    prices = np.sort(stream.uniform(1, 5, (300, 4)))
    rates = stream.uniform(0, 2, (300, 3, 4))
    whole = programme(prices, rates, 3, 5)
    some = programme(prices[120:140], rates[120:140], 3, 5)
    np.testing.assert_array_equal(whole.value[120:140], some.value)
    np.testing.assert_array_equal(whole.arm[120:140], some.arm)
    assert programme(prices[:0], rates[:0], 3, 5).value.shape == (0, 4, 6)


def season(copies: int, **conditions: object) -> tuple[Season, np.ndarray]:
    buyers = Buyers.from_history(load_catalogue(), 1)
    rows = np.repeat(np.arange(0, 519, 40), copies)
    buyers = replace(
        buyers.take(rows),
        keys=chance.keys(9, rows.size),
        mean_impressions=np.full(rows.size, 20.0),
    )
    ladders = buyers.value[:, None] * np.geomspace(0.4, 2.5, 12)
    return Season(buyers, Conditions(**conditions), objective="revenue"), ladders  # type: ignore[arg-type]


@pytest.mark.statistical
def test_simulated_takings_are_its_value() -> None:
    # One comparison at 3 standard errors: a false alarm in 370 seeds; the seed is fixed.
    selling, ladders = season(300, stock=(10, 50), days=30)
    solved = clairvoyant_programme(selling, ladders)
    assert selling.stock is not None
    expected = solved.value[np.arange(selling.stock.size), 0, selling.stock]
    taken = np.zeros(expected.size)
    while not selling.done:
        prices = solved.price(selling.day, selling.stock)
        taken += prices * selling.step(prices).units
    apart = taken - expected
    assert abs(apart.mean()) <= 3 * apart.std() / apart.size**0.5
    # close enough to tell a value that is two per cent off
    assert 3 * apart.std() / apart.size**0.5 < 0.02 * expected.mean()


def test_it_refuses_what_it_cannot_solve() -> None:
    prices = np.ones((2, 3))
    with pytest.raises(ValueError, match="days must be at least 1"):
        programme(prices, prices, 0, 5)
    with pytest.raises(ValueError, match="stock at least 0"):
        programme(prices, prices, 1, -1)
    with pytest.raises(ValueError, match=r"rates must be \(2, 3\) or \(2, 4, 3\): \(2, 2, 3\)"):
        programme(prices, np.ones((2, 2, 3)), 4, 5)
    with pytest.raises(ValueError, match="finite and at least 0"):
        programme(prices, -prices, 1, 5)
    selling, ladders = season(1)
    with pytest.raises(ValueError, match="expected a season with stock"):
        clairvoyant_programme(selling, ladders)
    for event in ({"drift": 0.1}, {"memory": 1.0}, {"turn_day": 3}, {"competitors": 0.2}):
        selling, ladders = season(1, stock=(1, 2), **event)
        with pytest.raises(ValueError, match=f"without {next(iter(event))} only"):
            clairvoyant_programme(selling, ladders)
    selling, ladders = season(1, stock=(1, 2))
    selling.step(ladders[:, 0])
    with pytest.raises(ValueError, match="before its first day"):
        clairvoyant_programme(selling, ladders)
