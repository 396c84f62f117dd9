"""Scores with a finite stock, held against the exact programme."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.stock import UNITS, marginal_values, programme, stock_scores


def listings(n, k=6, seed=0, busy=1.0):
    stream = np.random.default_rng(seed)
    prices = np.sort(stream.uniform(1, 5, (n, k)), axis=1)
    level = busy * np.exp(stream.normal(0, 1, (n, 1)))
    return prices, level * np.exp(-1.2 * (prices - 2)), stream


def test_scores_and_marginal_values_are_the_programmes():
    prices, rates, stream = listings(60)
    days, stock = stream.integers(1, 31, 60), stream.integers(0, UNITS + 1, 60)
    solved = programme(prices, rates, 30, UNITS)
    rows = np.arange(60)
    scores = stock_scores(prices, rates, days, stock)
    np.testing.assert_allclose(scores.max(axis=1), solved.value[rows, 30 - days, stock], atol=1e-9)
    some = stock > 0
    chosen = solved.arm[rows, 30 - days, stock]
    np.testing.assert_array_equal(scores.argmax(axis=1)[some], chosen[some])
    tomorrow = solved.value[rows, 31 - days]
    step = tomorrow[rows, stock] - tomorrow[rows, np.maximum(stock - 1, 0)]
    marginal = marginal_values(prices, rates, days, stock)
    np.testing.assert_allclose(marginal, step, atol=1e-9)


def test_one_unit_and_one_day_by_hand():
    prices, rates = np.array([[2.0, 3.0]]), np.array([[0.7, 0.4]])
    one = stock_scores(prices, rates, np.array([1]), np.array([1]))
    np.testing.assert_allclose(one, prices * (1 - np.exp(-rates)), rtol=1e-12)
    later = one.max()
    two = stock_scores(prices, rates, np.array([2]), np.array([1]))
    expected = prices * (1 - np.exp(-rates)) + np.exp(-rates) * later
    np.testing.assert_allclose(two, expected, rtol=1e-12)
    assert marginal_values(prices, rates, np.array([2]), np.array([1]))[0] == pytest.approx(later)
    assert marginal_values(prices, rates, np.array([1]), np.array([1]))[0] == 0.0
    assert not stock_scores(prices, rates, np.array([2]), np.array([0])).any()


def test_hypotheses_are_planned_for_apart_and_averaged():
    prices, rates, stream = listings(9)
    many = rates[:, None] * np.exp(stream.normal(0, 0.8, (9, 4, 1)))
    days, stock = np.full(9, 7), stream.integers(1, 12, 9)
    scores = stock_scores(prices, many, days, stock)
    alone = [stock_scores(prices, many[:, h], days, stock) for h in range(4)]
    np.testing.assert_allclose(scores, np.mean(alone, axis=0), atol=1e-12)
    # what may be wanted is kept: never less is asked than for the mean demand, and somewhere more
    mean = stock_scores(prices, many.mean(axis=1), days, np.full(9, 3)).argmax(axis=1)
    kept = stock_scores(prices, many, days, np.full(9, 3)).argmax(axis=1)
    assert kept.mean() > mean.mean()


@pytest.mark.parametrize(("stock", "days"), [(150, 30), (300, 30), (40, 120)])
def test_much_stock_and_many_days_are_planned_near_enough(stock, days):
    prices, rates, _ = listings(25, busy=stock / 30 * 30 / days)
    solved = programme(prices, rates, days, stock)
    scores = stock_scores(prices, rates, np.full(25, days), np.full(25, stock))
    assert (scores.max(axis=1) / solved.value[:, 0, stock] > 0.97).all()
    assert np.abs(scores.argmax(axis=1) - solved.arm[:, 0, stock]).max() <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 12), st.integers(1, 15))
def test_laws(seed, days, stock):
    prices, rates, _ = listings(4, k=3, seed=seed)
    d, c = np.full(4, days), np.full(4, stock)
    scores = stock_scores(prices, rates, d, c)
    best = scores.max(axis=1)
    assert (best <= prices.max(axis=1) * stock + 1e-9).all()
    assert (stock_scores(prices, rates, d + 1, c).max(axis=1) >= best - 1e-9).all()
    assert (stock_scores(prices, rates, d, c + 1).max(axis=1) >= best - 1e-9).all()
    assert (marginal_values(prices, rates, d, c) >= -1e-9).all()
    np.testing.assert_allclose(stock_scores(7 * prices, rates, d, c), 7 * scores, rtol=1e-9)


def test_rows_do_not_depend_on_their_neighbours_and_memory_stays_small():
    import tracemalloc

    prices, rates, stream = listings(3000, k=4)
    days, stock = stream.integers(1, 4, 3000), stream.integers(0, 20, 3000)
    few = np.arange(0, 3000, 37)
    tracemalloc.start()
    whole = stock_scores(prices, rates, days, stock)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    part = stock_scores(prices[few], rates[few], days[few], stock[few])
    np.testing.assert_allclose(whole[few], part, atol=1e-9)
    # tables of all rows at once, (n, k, stock, stock) alone, would take 38 MB
    assert peak < 8e6


def test_it_says_what_does_not_fit():
    one = np.ones((2, 3))
    days = np.ones(2, np.int64)
    for arguments, wrong in (
        ((one, one[:1], days, days), "rates must be"),
        ((one, one, days[:1], days), "expected 2 days"),
        ((one, one, days * 0, days), "days must be at least 1"),
        ((one, one, days, -days), "stock at least 0"),
        ((one, -one, days, days), "finite and at least 0"),
    ):
        with pytest.raises(ValueError, match=wrong):
            stock_scores(*arguments)
    none = np.zeros(0, np.int64)
    assert stock_scores(one[:0], one[:0], none, none).shape == (0, 3)
