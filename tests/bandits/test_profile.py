import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits import CurveBank, Estimates, Evidence, Population
from bandits.curves import DEFAULT_BANK
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
    second = level**2 * (1 + 1 / belief.shape)[:, None, None, None]
    mean = (weight * level * curves).sum((2, 3))
    square = (weight * second * curves**2).sum((2, 3))
    return mean, torch.sqrt(square - mean**2)


def chance_of_less(bank, belief, log_price, demand):
    """Probability of less demand (n,) at one price, of the mixture of Gammas, (n,)."""
    curves = bank.demand(torch.tensor(log_price).double())
    shape = belief.shape[:, None, None].expand_as(belief.level)
    rate = shape / belief.level / curves.clamp_min(1e-300)
    below = torch.special.gammainc(shape, (torch.as_tensor(demand)[:, None, None] * rate))
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
@pytest.mark.parametrize(
    ("impressions", "least"), [(0, 0.82), (10, 0.82), (100, 0.84), (1000, 0.85)]
)
def test_beliefs_are_calibrated(make, impressions, least):
    # 1,600 listings, seeded, one standard error 0.8 %; in 4 seeds 0.83 to 0.88 hold before sales,
    # 0.85 to 0.91 from 100 impressions on. Before sales the upper end is too low: how far the
    # worth may lie off what a hypothesis expects of it is left out there.
    shop, belief = listings_shown(make, impressions)
    for log_price in NEARBY:
        demand = shop.demand(np.full(MANY, log_price))
        below = chance_of_less(DEFAULT_BANK, belief, log_price, demand)
        assert least < ((below > 0.05) & (below < 0.95)).mean() < 0.95
        assert (below < 0.05).mean() < 0.08


@pytest.mark.statistical
@pytest.mark.parametrize(
    ("impressions", "least", "highest"), [(0, 0.68, 0.14), (100, 0.77, 0.12), (1000, 0.83, 0.1)]
)
def test_intervals_hold_most_of_the_truth(make, impressions, least, highest):
    # as above: 0.71 to 0.78 hold before sales, 0.79 to 0.84 after 100 impressions, 0.85 to 0.89
    # after 1,000. What the log-normal misses lies mostly below its lower end: where little is
    # known, there is a fair chance of next to no demand.
    shop, belief = listings_shown(make, impressions)
    profile = Profile.of(DEFAULT_BANK, belief, CPU)
    for log_price in NEARBY[:-1]:
        demand = shop.demand(np.full(MANY, log_price))
        mean, sd = (t.double().numpy() for t in read(profile, torch.full((MANY, 1), log_price)))
        low, high = (end[:, 0] for end in Estimates(mean, sd, sd).interval())
        assert least < ((low < demand) & (demand < high)).mean() < 0.95
        assert (demand > high).mean() < highest
