import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits import CurveBank, Evidence, Population
from bandits.curves import DEFAULT_BANK
from bandits.intervals import demand_intervals
from bandits.profile import Profile

CPU = torch.device("cpu")


def sold(make, n=12, shown=80, bank=DEFAULT_BANK, seed=0):
    """Beliefs about listings that have sold at a few prices."""
    population = Population.default(bank)
    shop = make.shop(population, make.known(n, guess_sd=0.5), seed)
    evidence = Evidence(bank)
    for log_price in (-0.3, 0.0, 0.4):
        shop.sell(evidence, np.full(n, log_price), shown)
    return evidence.posterior(np.arange(n), population, shop.known)


def exact(bank, belief, log_price):
    """Mean and standard deviation of the mixture of curves at prices (n, k), (n, k) each."""
    curves = bank.demand(log_price)  # (n, k, s, l)
    weight, level = belief.weight[:, None], belief.level[:, None]
    second = level**2 * (1 + 1 / belief.shape[:, None])
    mean = (weight * level * curves).sum((2, 3))
    square = (weight * second * curves**2).sum((2, 3))
    return mean, torch.sqrt(square - mean**2)


def chance_of_less(bank, belief, log_price, demand):
    """Probability of less demand (n,) at one price, of the mixture of Gammas, (n,)."""
    curves = bank.demand(torch.tensor(log_price).double())
    rate = belief.shape / belief.level / curves.clamp_min(1e-300)
    below = torch.special.gammainc(belief.shape, torch.as_tensor(demand)[:, None, None] * rate)
    return (belief.weight * below).sum((1, 2)).numpy()


def read(profile, log_price):
    return profile.at(log_price.float())


@pytest.mark.parametrize(
    "bank",
    [DEFAULT_BANK, CurveBank(shapes=(0.5, 3.0, 1.0, 2.0), reach=1.5, locations=9)],
    ids=["default", "small"],
)
def test_at_prices_of_the_grid_it_is_the_mixture_of_curves(make, bank):
    belief = sold(make, bank=bank)
    profile = Profile.of(bank, belief, CPU)
    on_grid = profile.grid.double().expand(12, -1)
    mean, sd = exact(bank, belief, on_grid)
    real = mean > 1e-6
    assert real.double().mean() > 0.5
    for found in (profile.moments(), read(profile, on_grid)):
        torch.testing.assert_close(found[0][real].double(), mean[real], rtol=1e-3, atol=0)
        torch.testing.assert_close(found[1][real].double(), sd[real], rtol=2e-2, atol=0)


def test_between_them_it_is_within_a_hundredth(make):
    belief = sold(make)
    profile = Profile.of(DEFAULT_BANK, belief, CPU)
    prices = torch.as_tensor(np.random.default_rng(0).uniform(-1.5, 1.2, (12, 40)))
    mean, sd = exact(DEFAULT_BANK, belief, prices)
    real = mean > 1e-4
    assert real.double().mean() > 0.7
    found_mean, found_sd = (t.double() for t in read(profile, prices))
    torch.testing.assert_close(found_mean[real], mean[real], rtol=0.01, atol=0)
    torch.testing.assert_close(found_sd[real], sd[real], rtol=0.05, atol=0)


def test_demand_falls_with_the_price_and_beyond_the_grid(make):
    profile = Profile.of(DEFAULT_BANK, sold(make, shown=5), CPU)
    mean, sd = read(profile, torch.linspace(-9.0, 9.0, 2000).expand(12, -1))
    assert torch.isfinite(mean).all()
    assert torch.isfinite(sd).all()
    assert (mean > 0).all()
    assert (sd >= 0).all()
    assert (mean.diff(dim=1) <= 1e-6 * mean[:, 1:]).all()
    below, inside = read(profile, torch.tensor([[-5.0, -3.4]]).expand(12, -1))[0].T
    assert (below > inside).all()


@settings(deadline=None, max_examples=30)
@given(
    shown=st.sampled_from([0.0, 1.0, 1e5, 1e9]),
    units=st.sampled_from([0.0, 1.0, 1e9]),
    log_price=st.floats(-8.0, 8.0),
    guess=st.sampled_from([-25.0, 0.0, 25.0]),
)
def test_extremes_leave_numbers(make, shown, units, log_price, guess):
    evidence = Evidence()
    one = np.ones(1)
    evidence.add(
        np.array([0]), 0 * one, np.exp([log_price]), shown * one, units * one, one, np.array([0])
    )
    belief = evidence.posterior(np.array([0]), Population.default(), make.known(1, guess))
    profile = Profile.of(DEFAULT_BANK, belief, CPU)
    mean, sd = read(profile, torch.linspace(-30.0, 30.0, 50)[None])
    assert torch.isfinite(mean).all()
    assert torch.isfinite(sd).all()
    assert (mean > 0).all()
    assert (sd >= 0).all()


# -- calibration ---------------------------------------------------------------------------------

NEARBY = (-0.3, -0.1, 0.0, 0.1, 0.3)
MANY = 1600


def listings_shown(make, impressions, n=MANY, seed=0):
    """Listings of the default population, shown so often at three prices; beliefs of them."""
    population, known = Population.default(), make.known(n, guess_sd=0.2)
    shop, evidence = make.shop(population, known, seed), Evidence()
    for log_price in (-0.2, 0.0, 0.2):
        shop.sell(evidence, np.full(n, log_price), impressions / 3)
    return shop, evidence.posterior(np.arange(n), population, known)


@pytest.mark.statistical
@pytest.mark.parametrize("impressions", [0, 10, 100, 1000])
def test_beliefs_are_calibrated(make, impressions):
    # 1,600 listings, seeded, one standard error 0.8 %
    shop, belief = listings_shown(make, impressions)
    for log_price in NEARBY:
        demand = shop.demand(np.full(MANY, log_price))
        below = chance_of_less(DEFAULT_BANK, belief, log_price, demand)
        assert 0.86 < ((below > 0.05) & (below < 0.95)).mean() < 0.94


@pytest.mark.statistical
@pytest.mark.parametrize("impressions", [0, 10, 100, 1000])
def test_intervals_hold_nine_of_ten(make, impressions):
    shop, belief = listings_shown(make, impressions)
    profile = Profile.of(DEFAULT_BANK, belief, CPU)
    for log_price in NEARBY:
        asked = np.full(MANY, log_price)
        mean, _ = (t.double().numpy()[:, 0] for t in read(profile, torch.as_tensor(asked)[:, None]))
        low, high = demand_intervals(DEFAULT_BANK, belief, asked, mean, np.zeros(MANY))
        demand = shop.demand(asked)
        assert (low < high).all()
        assert 0.86 < ((low < demand) & (demand < high)).mean() < 0.94
        # what corrections leave in doubt makes an interval wider, on both sides
        below, above = demand_intervals(DEFAULT_BANK, belief, asked, mean, np.full(MANY, 0.5))
        assert (below < low).all()
        assert (above > high).all()
