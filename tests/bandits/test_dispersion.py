"""Overdispersion is found where it is, and what is learned of a listing counts for no more."""

import numpy as np
import pytest
import torch

from bandits import Policy, Population
from bandits.curves import DEFAULT_BANK
from bandits.dispersion import Chance, Dispersion, order_size
from bandits.evidence import Evidence, spread, telling_of, tempered

from .plain_sales import add, posterior_of, prior_of
from .test_demand import outcomes_of, told, trained


def days(rng, n, curve, cv2, shown=(20, 400)):
    """Curves, doubts, impressions and units of n decisions, with chance of their own."""
    impressions = rng.integers(*shown, n).astype(float)
    curve = curve * np.exp(0.3 * rng.standard_normal(n))
    doubt = 0.1 * curve
    rate = curve + doubt * rng.standard_normal(n)
    if cv2:
        rate = rate * rng.gamma(1 / cv2, cv2, n)
    units = rng.poisson(impressions * rate.clip(0)).astype(float)
    return [torch.as_tensor(column) for column in (curve, doubt, impressions, units)]


def found(decisions):
    dispersion = Dispersion()
    dispersion.add(*decisions, torch.ones(len(decisions[0]), dtype=torch.float64))
    return dispersion


@pytest.mark.parametrize("cv2", [0.0, 0.04, 0.25])
@pytest.mark.parametrize("curve", [0.05, 0.5])
def test_it_is_learned_from_decisions(cv2, curve):
    learned = found(days(np.random.default_rng(1), 4000, curve, cv2)).learned()
    assert learned == pytest.approx(cv2, rel=0.25, abs=0.005)


def test_few_or_mistyped_decisions_tell_next_to_nothing():
    rng = np.random.default_rng(2)
    assert found(days(rng, 2, 0.05, 0.0)).learned() < 0.02
    assert Dispersion().learned() == 0.0
    decisions = days(rng, 1000, 0.05, 0.0)
    decisions[3][0] = 1e12
    assert found(decisions).learned() < 0.02
    nothing = [torch.zeros(3, dtype=torch.float64)] * 4
    assert found(nothing).learned() == 0.0


def test_what_is_taken_back_leaves_nothing():
    decisions = days(np.random.default_rng(3), 50, 0.2, 0.1)
    dispersion = found(decisions)
    dispersion.add(*decisions, -torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(dispersion.sums, torch.zeros(3, dtype=torch.float64))


def test_what_orders_of_several_units_add_is_no_chance_of_the_day():
    dispersion = found(days(np.random.default_rng(4), 4000, 0.5, 0.04))
    assert dispersion.learned(1.0) > dispersion.learned(1.2) > dispersion.learned(1.5)
    assert dispersion.learned(300.0) == 0.0


def sold(rng, listings, in_days, size, shown=(5, 400), level=0.05, spread_of_levels=0.5, off=0.0):
    """Own sales of listings priced within a tenth of 10, bought in orders of `size` on average
    (geometric), each listing's answer to price off by `off`."""
    evidence = Evidence()
    levels = level * np.exp(spread_of_levels * rng.standard_normal(listings))
    traffic = np.exp(rng.uniform(*np.log(shown), listings))
    elasticity = 2.0 + off * rng.standard_normal(listings)
    every = np.arange(listings)
    for _ in range(in_days):
        ratio = np.exp(0.1 * rng.uniform(-1, 1, listings))
        looked = rng.poisson(traffic) + 1.0
        orders = rng.poisson(looked * levels * ratio**-elasticity)
        of = np.repeat(every, orders)
        units = np.bincount(of, rng.geometric(1 / size, len(of)), listings)
        add(evidence, every, np.log(10.0), 10.0 * ratio, looked, units)
    return evidence


def size_of(evidence):
    return order_size(spread(evidence.gather(np.arange(len(evidence)))[0][:, 0]))


@pytest.mark.parametrize("size", [1, 2, 8, 50, 300])
@pytest.mark.parametrize("in_days", [2, 10])
def test_the_size_of_orders_is_learned(size, in_days):
    evidence = sold(np.random.default_rng(1), 200, in_days, size)
    # a unit's order, geometric, has 2 size − 1 units on average
    assert size_of(evidence) == pytest.approx(2 * size - 1, rel=0.5 if in_days == 2 else 0.25)


@pytest.mark.parametrize("in_days", [1, 3, 10])
@pytest.mark.parametrize("off", [0.0, 1.5])
def test_single_units_are_found_single(in_days, off):
    for seed in range(5):
        evidence = sold(np.random.default_rng(seed), 100, in_days, 1, off=off)
        assert size_of(evidence) < 1.3


@pytest.mark.parametrize("unmoved", [0.33, 1.0])
def test_buyers_who_do_not_answer_to_prices_buy_no_orders(unmoved):
    """Some take any price, which rises to twenty times; the others' prices stay."""
    rng, listings, in_days = np.random.default_rng(1), 150, 25
    evidence, every = Evidence(), np.arange(listings)
    minds = every >= unmoved * listings
    traffic = np.exp(rng.uniform(*np.log((8, 800)), listings))
    for day in range(in_days):
        ratio = np.exp(3.0 * ~minds * day / in_days + 0.15 * rng.standard_normal(listings))
        looked = rng.poisson(traffic) + 1.0
        units = rng.poisson(looked * 0.04 * np.where(minds, ratio**-2, 1.0))
        add(evidence, every, np.log(10.0), 10.0 * ratio, looked, units)
    assert size_of(evidence) < 1.5


@pytest.mark.parametrize(
    ("elasticity", "apart"),
    [(0.5, -2.0), (0.5, 2.0), (1.0, 2.0), (2.0, 2.0), (4.0, 1.0), (4.0, -1.0)],
)
def test_prices_far_from_the_anchor_make_no_orders(elasticity, apart):
    rng = np.random.default_rng(1)
    evidence, every = Evidence(), np.arange(100)
    traffic = np.exp(rng.uniform(*np.log((8, 800)), 100))
    goal = rng.normal(apart, 0.3, 100)
    for day in range(20):
        ratio = np.exp(goal * min(1.0, day / 8) + 0.15 * rng.standard_normal(100))
        looked = rng.poisson(traffic) + 1.0
        units = rng.poisson(looked * 0.04 * ratio**-elasticity)
        add(evidence, every, np.log(10.0), 10.0 * ratio, looked, units)
    assert size_of(evidence) < 1.3


def test_one_day_tells_that_orders_are_large():
    assert 3 < size_of(sold(np.random.default_rng(1), 200, 1, 50)) < 150


def test_single_visitors_tell_what_days_tell():
    evidence = sold(np.random.default_rng(1), 100, 1000, 5, shown=(1, 1.001))
    assert size_of(evidence) == pytest.approx(9, rel=0.25)


@pytest.mark.parametrize("mistyped", [1e12, 500.0, -500.0])
def test_one_mistyped_outcome_makes_no_orders(mistyped):
    evidence = sold(np.random.default_rng(1), 100, 10, 1)
    add(evidence, [0], np.log(10.0), [10.0], [50.0], [mistyped])
    assert size_of(evidence) < 1.3


@pytest.mark.parametrize("units", [1.0, 1e5, 1e10])
@pytest.mark.parametrize("impressions", [1.0, 1e10])
@pytest.mark.parametrize("listings", [1, 2, 50])
def test_the_largest_numbers_that_are_taken_are_learned_from(listings, impressions, units):
    evidence = sold(np.random.default_rng(1), listings, 2, 1)
    for price in (1e-3, 10.0, 1e6):
        add(evidence, [0, 0], np.log(10.0), [price] * 2, [impressions] * 2, [units, 0.0])
        assert 1.0 <= size_of(evidence) < np.inf


def test_levels_that_none_expected_are_no_orders():
    # each listing's level is off by a factor of five, up or down, and stays so
    evidence = sold(np.random.default_rng(1), 100, 10, 1, shown=(290, 310), spread_of_levels=1.6)
    assert size_of(evidence) < 1.3


def test_nothing_tells_nothing():
    assert order_size(torch.zeros(0, 5, dtype=torch.float64)) == 1.0
    assert order_size(torch.zeros(4, 5, dtype=torch.float64)) == 1.0
    nobody_bought = sold(np.random.default_rng(1), 20, 5, 1, level=1e-9)
    assert size_of(nobody_bought) == 1.0


def test_a_shop_of_large_orders_is_no_surer_of_its_listings_than_of_as_many_orders():
    rng = np.random.default_rng(1)
    evidence, single = sold(rng, 200, 10, 50), sold(rng, 200, 10, 1)
    rows = np.arange(200)
    large, small = (
        posterior_of(one, rows, np.log(10.0), population=Population(shapes, order_size=size))
        .location()[1]
        .median()
        .item()
        for one, size in ((evidence, size_of(evidence)), (single, 1.0))
        for shapes in (Population.default().shapes,)
    )
    assert large > 0.9 * small


def test_a_decision_told_in_parts_tells_of_chance_what_it_tells_at_once(make):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    rng = np.random.default_rng(2)
    in_parts, before = Policy(), np.zeros((30, 4))
    for _ in range(5):
        shown, sold = rng.integers(0, 20, 30), rng.integers(0, 4, 30)
        in_parts.learn(outcomes_of(listings, made, shown, sold), before.copy())
        before += told(shown, sold)
    at_once = Policy()
    at_once.learn(outcomes_of(listings, made, *before.T[:2]))
    assert at_once.dispersion.sums[2] > 0
    torch.testing.assert_close(in_parts.dispersion.sums, at_once.dispersion.sums)
    torch.testing.assert_close(in_parts.evidence.sums, at_once.evidence.sums)


def test_sums_are_tempered_to_what_counts_independently():
    sums = torch.rand(3, 2, DEFAULT_BANK.size + 10, dtype=torch.float64)
    sums[:, 0, -1] = torch.tensor([0.0, 100.0, 100.0])
    sums[:, 0, -2] = torch.tensor([0.0, 0.0, 10_000.0])  # one unit a decision; all in one
    found = tempered(sums, Chance(1.0, 0.04))
    torch.testing.assert_close(found[:2], sums[:2])
    torch.testing.assert_close(found[2], sums[2] / 5.0)  # variance 100 + 0.04 · 100²
    torch.testing.assert_close(tempered(sums, Chance()), sums)
    # in orders of 11, whether any came or not; 9,000 of the pairs are of different orders
    found = tempered(sums, Chance(11.0, 0.04))
    torch.testing.assert_close(found[:2], sums[:2] / 11.0)
    torch.testing.assert_close(found[2], sums[2] / (11.0 + 3.6))


def test_a_giant_day_decides_no_elasticity_where_days_vary(make):
    evidence = Evidence()
    add(evidence, [0, 0], 0.0, [1.0, 1.2], [1e5, 1e5], [5000.0, 2500.0])
    unsure, sure = (
        posterior_of(evidence, [0], population=population).location()[1].item()
        for population in (
            Population(Population.default().shapes, overdispersion=0.1),
            Population.default(),
        )
    )
    assert sure < 0.5 * unsure < 0.5 * prior_of(1).location()[1].item()


def test_units_tell_nothing_until_it_is_known_how_many_looked():
    nobody = telling_of(np.array([0.0, 5.0, 5.0]), np.array([3.0, 3.0, -1.0]))
    told = [[0, 0, 0, 0, 0, 0], [5, 3, 6, 1.8, 25, 1], [5, -1, 0, 0.2, 25, 1]]
    np.testing.assert_allclose(nobody, told, rtol=1e-15)
