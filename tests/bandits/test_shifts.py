"""What all listings are worth more or less is told by elasticities, and curves move with it."""

import dataclasses

import numpy as np
import pytest
from trained_policy import DAY, catalogue, outcomes_of, rows_of

from bandits import Policy
from bandits.days import GROUPS
from bandits.shifts import DAYS, CommonShift, factor

N = 160
LISTING = np.arange(N)
ELASTICITY = np.random.default_rng(3).lognormal(np.log(2.2), 0.25, N)
LESS = np.log(0.65)


def told_of(draws, effect, worth=0.0, expected=5.0):
    """Units, expected and told later, of a day that is `effect` times the usual, (3, N)."""
    mean = effect * expected * factor(np.full(N, worth), ELASTICITY)
    return np.stack([draws.poisson(mean), np.full(N, expected), np.zeros(N)])


def lived(effects, worths, seed=0):
    """What was forecast for each day before it, and the sums in the end."""
    shift, draws = CommonShift(), np.random.default_rng(seed)
    found = []
    for day, (effect, worth) in enumerate(zip(effects, worths, strict=True)):
        at = np.full(N, day * DAY)
        found.append(shift.forecast(at[:1])[0])
        shift.add(LISTING, at, told_of(draws, effect, worth), ELASTICITY)
    return np.array(found), shift


@pytest.mark.parametrize("seed", range(4))
def test_quiet_and_busy_days_are_no_shift(seed):
    effects = np.random.default_rng(seed).lognormal(0.0, 0.5, 40)
    found, _ = lived(effects, np.zeros(40), seed)
    # z is beyond 2 on one day in twenty, and such an x is then believed to a quarter
    assert np.median(np.abs(found)) < 0.01
    assert np.abs(found).max() < 0.1


@pytest.mark.parametrize(("worth", "least"), [(LESS, -0.25), (0.4, 0.2)])
def test_what_all_are_worth_less_or_more_is_found_and_forgotten(worth, least):
    days = np.arange(40)
    moved = np.where((days >= 15) & (days < 28), worth, 0.0)
    found, shift = lived(np.where(days % 7 < 2, 1.8, 0.9), moved)
    assert (found[20:28] / least > 1.0).all()
    assert np.abs(found[22:28] - worth).max() < 0.17
    assert np.abs(found[[*range(16), *range(33, 40)]]).max() < 0.1
    # days that are not in sight of any that were told of are usual ones
    assert shift.forecast(np.array([0, 4000 * DAY])).tolist() == pytest.approx([0.0, 0.0], abs=0.02)


def test_demand_is_multiplied_by_as_much_as_curves_of_its_shape_move():
    # Box-Cox with κ = 1.5 and elasticity 2 at the reference price, a fifth below it
    kappa, z = 1.5, np.log(0.8)
    f = lambda z: np.exp(-2.0 * np.expm1(kappa * z) / kappa)  # noqa: E731
    elasticity = 2.0 * np.exp(kappa * z)
    ratio = f(z - LESS) / f(z)
    assert factor(np.array([LESS]), np.array([elasticity]))[0] == pytest.approx(ratio)
    assert factor(np.array([LESS]), np.array([np.nan]))[0] == 1.0


def test_nothing_told_is_no_shift():
    shift, nothing = CommonShift(), np.empty(0, np.int64)
    assert shift.forecast(np.array([DAY])).tolist() == [0.0]
    assert shift.forecast(nothing).shape == (0,)
    none = np.empty((3, 0))
    shift.add(nothing, nothing, none, np.empty(0))
    assert shift.shown(nothing, nothing, none, np.empty(0)).shape == (0,)
    at, told = np.full(N, DAY), told_of(np.random.default_rng(0), 1.0)
    unknown = np.full(N, np.nan)
    assert shift.shown(LISTING, at, told, unknown).tolist() == [0.0] * N
    shift.add(LISTING, at, told, unknown)
    assert not shift.sums.any()
    # of one elasticity nothing can be told
    shift.add(LISTING, at, 0.2 * told, np.full(N, 2.0))
    assert shift.forecast(at).tolist() == pytest.approx([0.0] * N)


def test_in_a_shop_s_first_days_nothing_has_moved():
    found, _ = lived(np.ones(12), np.where(np.arange(12) > 0, LESS, 0.0))
    assert found[:8].tolist() == [0.0] * 8
    assert found[9] < -0.2


def test_a_few_listings_whose_curves_are_off_tell_of_no_shift():
    shift, row = CommonShift(), np.repeat(np.arange(3), 40)
    elasticity = np.tile(np.linspace(1.0, 4.0, 40), 3)
    told = np.stack([20 * np.exp(-0.3 * (elasticity - 2.0)), np.full(120, 20.0), np.zeros(120)])
    for day in range(12):
        shift.add(row, np.full(120, day * DAY), told, elasticity)
    assert shift.forecast(np.array([12 * DAY]))[0] > -0.1


def test_a_listing_s_own_part_does_not_tell_it():
    _, shift = lived(np.ones(10), np.where(np.arange(10) > 4, LESS, 0.0))
    at, told = np.full(N, 10 * DAY), told_of(np.random.default_rng(9), 1.0, LESS)
    before = shift.shown(LISTING, at, told, ELASTICITY)
    assert before.max() < -0.1
    mine = LISTING % GROUPS == 3
    changed = told.copy()
    changed[0, mine] *= np.where(ELASTICITY[mine] > 2.2, 3.0, 0.0)
    after = shift.shown(LISTING, at, changed, ELASTICITY)
    # what others' fit takes of it is a step of Newton's off
    assert np.abs(after - before)[mine].max() < 0.5 * np.abs(after - before)[~mine].min()


def test_sums_do_not_depend_on_the_order_of_outcomes_and_the_last_days_are_kept():
    draws = np.random.default_rng(4)
    m = 400
    listing, day = draws.integers(0, N, m), draws.integers(0, 2 * DAYS, m)
    told = np.stack([draws.poisson(3.0, m), np.full(m, 3.0), np.zeros(m)])
    elasticity = np.where(draws.random(m) < 0.1, np.nan, draws.lognormal(0.8, 0.5, m))
    whole, parts = CommonShift(), CommonShift()
    whole.add(listing, day * DAY, told, elasticity)
    for rows in np.array_split(draws.permutation(m), 7):
        parts.add(listing[rows], day[rows] * DAY, told[:, rows], elasticity[rows])
    assert len(whole.day) == DAYS
    np.testing.assert_array_equal(parts.day, whole.day)
    np.testing.assert_allclose(parts.sums, whole.sums, atol=1e-12)
    kept = ~np.isnan(elasticity) & (day >= whole.day[0])
    counts = 1.0 / (1.0 + 0.04 * 3.0)
    assert whole.sums[1].sum() == pytest.approx(counts * 3.0 * kept.sum())


def test_prices_follow_what_all_listings_are_worth(make):
    n, days, turn = 160, 34, 12
    listings = catalogue(make, n, 1)
    draws = np.random.default_rng(11)
    usual = np.exp(listings.anchor)
    # some mind the price more than others, or quiet days and lower worths could not be told apart
    keen = draws.lognormal(0.0, 0.35, n)

    def lived(told_of_elasticities):
        policy, draws = Policy(), np.random.default_rng(5)
        for day in range(days):
            value = usual * (0.65 if day >= turn else 1.0)
            now = dataclasses.replace(listings.context, at=np.full(n, day * DAY))
            today = dataclasses.replace(listings, context=now)
            made = policy.decide(today, make.random_ids(day, n))
            rate = 0.05 * np.exp(-2 * keen * (made.price / 100 / value - 1))
            one = outcomes_of(today, made, np.full(n, 300), draws.poisson(300 * rate), day * DAY)
            if not told_of_elasticities:
                one = dataclasses.replace(one, elasticity=np.full(n, np.nan))
            policy.learn(policy.dated(one))
            if day in (0, 1, 2, 6, 11, 20):
                policy.learn_population(*rows_of(today, policy.consulted()))
        # (p − c) exp(−2 k p / v) is highest at c + v / 2 k
        best = np.nan_to_num(listings.context.unit_cost) + value / (2 * keen)
        price = policy.decide(today, make.random_ids(0, n), explore=False).price / 100
        return np.log(price / best)

    with_them, without = lived(True), lived(False)
    assert np.median(without) > 0.1  # the day was taken for a quiet one, and prices stayed
    assert abs(np.median(with_them)) < 0.6 * np.median(without)
