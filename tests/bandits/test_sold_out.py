"""What decisions tell of demand whose listings were sold out before all had looked."""

import dataclasses

import numpy as np
import pytest
from trained_policy import DAY, estimated, outcomes_of, told

from bandits import Outcomes, Policy
from bandits.telling import could_buy


def listing(make, n=1):
    return make.listings(np.full(n, 10.0), listing=np.arange(n), unit_cost=np.full(n, 4.0))


def decided(make, policy, seed=0, n=1):
    listings = listing(make, n)
    return listings, policy.decide(listings, make.random_ids(seed, n))


def sums_of(policy):
    return (
        policy.evidence.gather(np.arange(1))[0],
        policy.head.gram,
        policy.head.moment,
        policy.dispersion.sums,
        np.asarray(policy.days.sums),
    )


@pytest.mark.parametrize(("left", "rate", "shown"), [(1, 0.02, 20), (5, 0.03, 400), (12, 0.1, 90)])
def test_as_many_looked_while_units_were_left_as_in_shops_that_sold_out(make, left, rate, shown):
    listings, made = decided(make, Policy())
    outcome = outcomes_of(listings, made, [shown], [left], stock=left)
    outcome = dataclasses.replace(outcome, expected=np.array([rate]))
    found = could_buy(outcome.impressions, outcome.units, outcome)[0]
    last = np.random.default_rng(0).gamma(left, 1 / rate, 400_000)  # the last unit's buyer
    last = last[last <= shown] / shown
    assert found == pytest.approx(last.mean(), abs=4 * last.std() / np.sqrt(len(last)))


@pytest.mark.parametrize("left", [1, 7, 1000, 10**6])
def test_shares_are_sound_whatever_was_expected(make, left):
    rates = 10.0 ** np.arange(-300, 5, 5)
    n = len(rates)
    listings, made = decided(make, Policy(), n=n)
    outcome = outcomes_of(listings, made, np.full(n, 500), np.full(n, left), stock=left)
    outcome = dataclasses.replace(outcome, expected=rates)
    share = could_buy(outcome.impressions, outcome.units, outcome)
    assert ((share > 0) & (share <= 1)).all()
    assert (np.diff(share) <= 1e-6).all()  # the more buyers, the sooner it was sold out
    assert share[0] == pytest.approx(left / (left + 1))


@pytest.mark.parametrize("units", [0, 3])
def test_what_was_sold_out_tells_nothing_of_demand_but_is_counted(make, units):
    policy = Policy()
    listings, made = decided(make, policy)
    policy.learn(outcomes_of(listings, made, [400], [units], stock=0))
    for sums in sums_of(policy):
        assert not np.asarray(sums).any()
    totals = policy.evidence.totals_of(np.arange(1))[0].tolist()
    assert totals[:2] == [units, 400]


def test_a_stock_that_was_not_sold_out_changes_nothing(make):
    def learned(stock, units):
        policy = Policy()
        listings, made = decided(make, policy)
        policy.learn(outcomes_of(listings, made, [400], [units], stock=stock))
        return sums_of(policy)

    for stock, units in ((50, 6), (5, 6)):  # enough; more had come
        for one, other in zip(learned(stock, units), learned(np.nan, units), strict=True):
            np.testing.assert_array_equal(one, other)


def test_parts_teach_what_the_whole_does(make):
    listings, made = decided(make, Policy())
    whole, parts = Policy(), Policy()
    whole.learn(outcomes_of(listings, made, [500], [8], stock=8))
    before = np.zeros((1, 4))
    for shown, units in ((100, 5), (150, 3), (250, 0)):
        parts.learn(outcomes_of(listings, made, [shown], [units], stock=8), before)
        before = before + told([shown], [units])
    for one, other in zip(sums_of(parts), sums_of(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def test_demand_is_found_behind_a_stock_that_never_lasts(make):
    """Ten buyers come each day and four find something: forty days of that are no slow sale."""
    rng = np.random.default_rng(3)
    found = {}
    for name, stock in (("told", 4.0), ("not told", np.nan)):
        policy = Policy()
        for day in range(40):
            listings, made = decided(make, policy, seed=day)
            buyers = rng.poisson(200 * 0.05 * np.exp(-2 * (made.price / 1000 - 1)))
            sold = np.minimum(buyers, 4)
            policy.learn(outcomes_of(listings, made, [200], sold, at=day * DAY, stock=stock))
        found[name] = estimated(policy, listing(make), np.array([[10.0]]))[0].mean[0, 0]
    assert found["not told"] < 0.025
    assert 0.035 < found["told"] < 0.065


def test_columns_are_taken_by_row(make):
    listings, made = decided(make, Policy(), n=4)
    outcome = outcomes_of(listings, made, np.full(4, 100), [0, 0, 3, 3], stock=[0, 5, 3, np.nan])
    share = could_buy(outcome.impressions, outcome.units, outcome)
    assert share[[0, 1, 3]].tolist() == [0.0, 1.0, 1.0]
    assert 0.5 < share[2] < 1.0
    rows = Outcomes(*(getattr(outcome, f.name)[2:] for f in dataclasses.fields(Outcomes)))
    np.testing.assert_array_equal(could_buy(rows.impressions, rows.units, rows), share[2:])


def test_what_comes_back_in_parts_teaches_what_the_whole_does(make):
    listings, made = decided(make, Policy())
    whole, parts = Policy(), Policy()
    one = outcomes_of(listings, made, [500], [6], stock=8)
    whole.learn(dataclasses.replace(one, returned=np.array([2.0])))  # of the 8
    parts.learn(outcomes_of(listings, made, [500], [8], stock=8))
    back = dataclasses.replace(one, impressions=np.zeros(1), units=np.array([-1.0]))
    back = dataclasses.replace(back, returned=np.ones(1))
    before = told([500], [8])
    for _ in range(2):
        parts.learn(back, before)
        before = before + np.array([[0.0, -1.0, 0.0, 1.0]])
    for a, b in zip(sums_of(parts), sums_of(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


def test_who_is_never_sold_out_is_no_slip_beside_those_who_are(make):
    policy, gone = Policy(), np.arange(30) < 20
    for day in range(60):
        listings, made = decided(make, policy, day, 30)
        left = np.where(gone & (day > 0), 0, np.nan)
        units = np.where(left == 0, 0, 12)
        policy.learn(outcomes_of(listings, made, np.full(30, 400), units, day * DAY, left))
    assert policy.consulted().tolist() == list(range(30))
