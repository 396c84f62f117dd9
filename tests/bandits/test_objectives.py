import numpy as np
import pytest

from bandits import Objective, Policy

PRICES = np.array([[10.0, 20.0], [10.0, 20.0], [10.0, 20.0], [10.0, 20.0]])
COST = np.array([[4.0], [4.0], [4.0], [0.0]])


def objective(profit=0.0, revenue=0.0, units=0.0):
    return Objective(*(np.atleast_1d(np.asarray(w, float)) for w in (profit, revenue, units)))


def test_what_a_unit_is_worth_by_hand():
    mixed = objective([1, 0, 0.5, 1], [0, 1, 0.5, 1], [0, 0, 3, 0])
    expected = [[6, 16], [10, 20], [11, 21], [20, 40]]
    np.testing.assert_allclose(mixed.gain(PRICES, COST), expected)
    np.testing.assert_allclose(objective(units=[2] * 4, profit=[0] * 4, revenue=[0] * 4)
                               .gain(PRICES, COST), 2.0)  # fmt: skip


@pytest.mark.parametrize("wrong", [-0.1, np.nan, np.inf])
@pytest.mark.parametrize("name", ["profit", "revenue", "units"])
def test_a_weight_that_is_none_is_refused_by_name(name, wrong):
    weights = {"profit": [1, 1], "revenue": [0, 0], "units": [0, 0], name: [1, wrong]}
    with pytest.raises(ValueError, match=rf"{name} is {wrong}: give a weight of at least 0"):
        objective(**weights)


def test_an_objective_of_nothing_is_refused_by_row():
    with pytest.raises(ValueError, match="all weights of row 1 are 0"):
        objective([1, 0], [0, 0], [0, 0])


def test_nobody_to_price_is_no_error():
    none = objective([], [], [])
    assert none.gain(np.empty((0, 3)), np.empty((0, 1))).shape == (0, 3)


def best_prices(make, chosen, n=1, cost=8.0, **bounds):
    listings = make.listings([20.0] * n, unit_cost=cost, objective=chosen, **bounds)
    return Policy().decide(listings, make.random_ids(0, n), explore=False).price


def test_each_listing_is_priced_for_its_own_objective(make):
    profit, revenue, mix, units = best_prices(
        make,
        objective([1, 0, 0.5, 0], [0, 1, 0.5, 0], [0, 0, 0, 1]),
        n=4,
        min_price=9.0,
        max_price=60.0,
    )
    assert units == 900
    assert units <= revenue < mix < profit


def test_units_beside_profit_lower_the_price(make):
    weight = np.array([0.0, 2.0, 5.0, 1000.0])
    chosen = objective(np.ones(4), np.zeros(4), weight)
    prices = best_prices(make, chosen, n=4, min_price=9.0)
    assert (np.diff(prices) < 0).all()
    assert prices[-1] == 900


def test_profit_is_the_objective_where_none_is_given(make):
    assert best_prices(make, None) == best_prices(make, objective(profit=1))
    without = best_prices(make, objective(profit=1), cost=np.nan)
    assert without == best_prices(make, objective(revenue=1), cost=np.nan)
