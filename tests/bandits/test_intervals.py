import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import gammaincinv

from bandits import Evidence, Population, intervals
from bandits.curves import DEFAULT_BANK as BANK
from bandits.evidence import Posterior
from bandits.intervals import TAIL, demand_intervals

N = 12
NONE = np.zeros(N)


def believed(make, shown, n=N, seed=0):
    """Beliefs about listings that have been shown so often at each of three prices."""
    population = Population.default()
    shop = make.shop(population, make.known(n, guess_sd=0.3), seed)
    evidence = Evidence()
    for log_price in (-0.3, 0.0, 0.4):
        shop.sell(evidence, np.full(n, log_price), shown)
    return evidence.posterior(np.arange(n), population, shop.known)


def one(belief, row=0):
    """The belief about one listing."""
    fields = dataclasses.fields(belief)
    return Posterior(*(getattr(belief, field.name)[row : row + 1] for field in fields))


def own_mean(belief, log_price):
    """Mean of the mixture at prices (n,), (n,)."""
    curves = BANK.demand(torch.as_tensor(log_price))
    return (belief.weight * belief.level * curves).sum((1, 2)).numpy()


def chance_of_less(belief, log_price, demand):
    """Probability of less demand (n,) at prices (n,), of the mixture of Gammas, (n,)."""
    mean = (belief.level * BANK.demand(torch.as_tensor(log_price))).clamp_min(1e-300)
    at = torch.as_tensor(demand)[:, None, None] * belief.shape / mean
    return (belief.weight * torch.special.gammainc(belief.shape, at)).sum((1, 2)).numpy()


def exact_quantile(belief, log_price, share):
    """Quantile of the mixture of Gammas by bisection of its distribution, (n,)."""
    low, high = np.full(len(log_price), -60.0), np.full(len(log_price), 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        less = chance_of_less(belief, log_price, np.exp(middle)) < share
        low, high = np.where(less, middle, low), np.where(less, high, middle)
    return np.exp(low)


# -- against exact quantiles ---------------------------------------------------------------------

PRICES = pytest.mark.parametrize("log_price", [-0.5, 0.0, 0.3])
FLOOR = np.exp(-8.9)  # of the mean; an end below is next to nothing, and is not told apart


@PRICES
@pytest.mark.parametrize("shown", [0, 3, 30, 300])
def test_next_to_a_twentieth_lies_beyond_either_end(make, shown, log_price):
    # twelve quantiles of each level: 4.4 to 6.1 % lie below, 4.2 to 6.1 % above, here
    belief, asked = believed(make, shown), np.full(N, log_price)
    mean = own_mean(belief, asked)
    low, high = demand_intervals(BANK, belief, asked, mean, NONE)
    told = low > FLOOR * mean
    below = chance_of_less(belief, asked, low)[told]
    assert ((below > 0.04) & (below < 0.075)).all()
    np.testing.assert_allclose(chance_of_less(belief, asked, high), 1 - TAIL, atol=0.015)
    np.testing.assert_allclose(high, exact_quantile(belief, asked, 1 - TAIL), rtol=0.09)
    assert (chance_of_less(belief, asked, FLOOR * mean)[~told] > 0.03).all()


@PRICES
@pytest.mark.parametrize("shown", [0, 3, 30, 300])
def test_with_more_quantiles_of_each_level_they_are_the_mixtures(
    make, monkeypatch, shown, log_price
):
    monkeypatch.setattr(intervals, "_LEVELS", 64)
    belief, asked = believed(make, shown), np.full(N, log_price)
    mean = own_mean(belief, asked)
    low, high = demand_intervals(BANK, belief, asked, mean, NONE)
    np.testing.assert_allclose(high, exact_quantile(belief, asked, 1 - TAIL), rtol=0.03)
    told = low > FLOOR * mean
    np.testing.assert_allclose(chance_of_less(belief, asked, low)[told], TAIL, atol=0.01)


def certain(shape, level=0.05):
    """A belief in one curve, whose level is Gamma of the given shape."""
    weight = torch.zeros(1, *BANK.shrink().shape, dtype=torch.float64)
    weight[0, 1, 20] = 1.0
    ones = torch.ones_like(weight)
    return Posterior(weight, level * ones, shape * ones, 0 * ones, torch.zeros(1).double())


@pytest.mark.parametrize("shape", [2.5, 10.0, 100.0, 1000.0])
def test_of_one_curve_they_are_quantiles_of_a_gamma(monkeypatch, shape):
    monkeypatch.setattr(intervals, "_LEVELS", 512)
    asked, belief = np.array([0.2]), certain(shape)
    mean = own_mean(belief, asked)
    low, high = demand_intervals(BANK, belief, asked, mean, np.zeros(1))
    expected = gammaincinv(shape, [TAIL, 1 - TAIL]) / shape * mean
    np.testing.assert_allclose([low[0], high[0]], expected, rtol=0.03)


# -- laws ----------------------------------------------------------------------------------------


def test_nobody_to_ask_about(make):
    nothing = np.empty(0)
    belief = believed(make, 3).weight[:0]
    nobody = Posterior(belief, belief, belief, belief, torch.zeros(0).double())
    for end in demand_intervals(BANK, nobody, nothing, nothing, nothing):
        assert end.shape == (0,)


def test_one_listing_at_many_prices(make):
    belief, asked = believed(make, 30), np.linspace(-1.0, 0.8, 50)
    alone = one(belief, 4)
    mean = own_mean(alone, asked)
    low, high = demand_intervals(BANK, alone, asked, mean, np.full(50, 0.2))
    assert low.shape == high.shape == (50,)
    for i in range(0, 50, 7):
        ours = slice(i, i + 1)
        each = demand_intervals(BANK, alone, asked[ours], mean[ours], np.array([0.2]))
        np.testing.assert_allclose([low[i], high[i]], np.ravel(each), rtol=1e-12)
    # all of a listing's curves fall with the price, and so do the quantiles of their mixture
    assert (np.diff(high) < 0).all()


@settings(deadline=None, max_examples=30)
@given(
    shown=st.sampled_from([0, 30, 3000]),
    log_price=st.floats(-1.5, 1.5),
    extra=st.lists(st.floats(0.0, 3.0), min_size=2, max_size=5).map(sorted),
    factor=st.sampled_from([1e-6, 0.3, 50.0]),
)
def test_what_corrections_leave_in_doubt_widens_them(make, shown, log_price, extra, factor):
    n = len(extra)
    belief, asked, extra = one(believed(make, shown)), np.full(n, log_price), np.array(extra)
    mean = own_mean(belief, asked)
    low, high = demand_intervals(BANK, belief, asked, mean, extra)
    assert (low > 0).all()
    assert (low < high).all()
    assert np.isfinite(high).all()
    assert (np.diff(low) <= 1e-12 * low[1:]).all()
    assert (np.diff(high) >= -1e-12 * high[1:]).all()
    # and they move with the mean
    moved = demand_intervals(BANK, belief, asked, factor * mean, extra)
    np.testing.assert_allclose(moved, (factor * low, factor * high), rtol=1e-9)


def test_beside_much_doubt_the_belief_is_no_matter(make):
    belief, asked = believed(make, 3000), np.zeros(N)
    much = np.full(N, 40.0)
    low, high = demand_intervals(BANK, belief, asked, np.ones(N), much)
    # a normal deviate of 1.645 of so many deviations; the median is off the mean
    np.testing.assert_allclose(np.log(high) - np.log(low), 2 * 1.6449 * 40, rtol=0.05)
