"""What a day is to all listings is told by the others, and is not taken for an answer to prices."""

import dataclasses

import numpy as np
import pytest
from trained_policy import DAY, catalogue, outcomes_of, rows_of, told

from bandits import Policy
from bandits.days import GROUPS, MOST, DayEffects

N = 64


def of_days(effects, expected=20.0, seed=0):
    """Days on which `N` listings are expected to sell `expected` units each, and do, times what the
    day was and by chance."""
    draws, days = np.random.default_rng(seed), DayEffects()
    for day, effect in enumerate(effects):
        e = np.full(N, expected)
        told = draws.poisson(e * effect), e, np.zeros(N)
        days.add(np.arange(N), np.full(N, day * DAY), np.array(told))
    return days


def shown(days, day, units, expected, listing=None):
    listing = np.arange(len(units)) if listing is None else listing
    at = np.full(len(units), day * DAY)
    one = np.ones(len(units))
    return days.shown(listing, at, np.stack([units, expected, 0.0 * one]), one)


def test_before_any_day_was_seen_each_is_usual():
    days = DayEffects()
    assert days.forecast(np.array([0, 5 * DAY])).tolist() == [1.0, 1.0]
    nothing = np.empty((3, 0))
    rows = np.empty(0, np.int64)
    days.add(rows, rows, nothing)
    assert days.shown(rows, rows, nothing, nothing[0]).shape == (0,)
    assert days.sums.shape[1] == 0


@pytest.mark.parametrize("effect", [0.5, 1.6])
def test_a_day_is_found_as_busy_as_it_was(effect):
    days = of_days(np.exp(0.3 * np.random.default_rng(1).standard_normal(20)))
    units = np.full(N, 20.0 * effect)
    found = shown(days, 20, units, np.full(N, 20.0))
    np.testing.assert_allclose(found, effect, rtol=0.07)


def test_where_days_are_alike_chance_is_not_taken_for_a_busy_one():
    days = of_days(np.ones(30), expected=1.0)
    units = np.full(N, 1.2)  # 77 units where 64 were expected
    assert np.abs(np.log(shown(days, 30, units, np.ones(N)))).max() < 0.06


def test_a_listing_s_own_sales_are_never_taken_for_the_day():
    days = of_days(np.ones(5))
    units, expected = np.full(N, 20.0), np.full(N, 20.0)
    units[3] *= 4
    found = shown(days, 5, units, expected)
    assert found[3] < 1.01
    alone = shown(DayEffects(), 0, np.array([300.0]), np.array([20.0]))
    assert alone.tolist() == [1.0]
    part = np.array([3, 3 + GROUPS])  # of the same part: what one sells is no day's to the other
    assert shown(DayEffects(), 0, np.full(2, 300.0), np.full(2, 20.0), part).tolist() == [1.0] * 2


def test_one_large_listing_is_not_everybody_s_day():
    days = of_days(np.ones(10))
    units, expected = np.full(N, 20.0), np.full(N, 20.0)
    units[0], expected[0] = 60_000.0, 20_000.0
    found = shown(days, 10, units, expected)
    others = np.arange(N) % GROUPS != 0
    assert found[others].max() < 1.15
    for surge in (0.0, 1e9):
        units[0] = surge
        assert np.abs(np.log(shown(days, 10, units, expected)[others])).max() < 0.14


def test_a_day_is_bounded_and_returns_alone_are_no_day_of_less_than_nothing():
    days = of_days(np.exp(np.random.default_rng(2).standard_normal(20)))
    for units in (np.full(N, -5.0), np.full(N, 1e7)):
        found = shown(days, 20, units, np.full(N, 20.0))
        assert ((found >= 1 / MOST) & (found <= MOST)).all()
    none = shown(days, 20, np.full(N, 3.0), np.zeros(N))
    assert np.isfinite(none).all()


def test_what_lasts_is_expected_to_last_and_a_day_is_read_as_it_comes():
    days = of_days([1.0] * 10 + [0.5] * 12)
    later = days.forecast(np.array([5, 22, 500]) * DAY)
    np.testing.assert_allclose(later, [1.0, 0.55, 0.55], atol=0.06)
    grown = of_days(np.exp(0.03 * np.arange(30))).forecast(np.array([30 * DAY]))
    assert 0.75 < grown[0] / np.exp(0.9) < 1.0


def test_weekdays_are_expected_to_come_again():
    week = np.array([-0.3, -0.3, -0.3, 0.0, 0.0, 0.5, 0.4])
    days = of_days(np.exp(np.tile(week, 4)))
    coming = np.log(days.forecast(np.arange(28, 35) * DAY))
    assert np.abs(coming - week).max() < 0.2
    alike = of_days(np.ones(28))
    assert np.abs(np.log(alike.forecast(np.arange(28, 35) * DAY))).max() < 0.02
    grown = of_days(np.exp(np.tile(week, 4) + 0.03 * np.arange(28)))
    coming = np.log(grown.forecast(np.arange(28, 29) * DAY)) - 0.03 * 28
    assert abs(coming[0] - week[0]) < 0.3  # what grows is expected some days late


def test_days_come_in_any_order_and_sums_add_up():
    draws = np.random.default_rng(4)
    m = 500
    row, at = draws.integers(0, 90, m), draws.integers(100, 130, m) * DAY
    said = np.stack([draws.poisson(3, m), draws.uniform(1, 5, m), draws.poisson(0.3, m)])
    whole = DayEffects()
    whole.add(row, at, said)
    parts, order = DayEffects(), draws.permutation(m)
    for part in np.array_split(order, 7):
        parts.add(row[part], at[part], said[:, part])
    assert parts.first == whole.first
    np.testing.assert_allclose(parts.sums, whole.sums)
    asked = np.arange(95, 140) * DAY
    np.testing.assert_allclose(parts.forecast(asked), whole.forecast(asked))
    before = DayEffects()
    before.add(row[:-5], at[:-5], said[:, :-5])
    last = row[-5:], at[-5:], said[:, -5:]
    held = before.sums.copy()
    found = before.shown(*last, np.ones(5))
    np.testing.assert_array_equal(before.sums, held)  # asking adds nothing
    before.add(*last)
    none = row[-5:], at[-5:], np.zeros((3, 5))
    np.testing.assert_allclose(before.shown(*none, np.ones(5)), found)


def test_a_time_long_gone_or_to_come_leaves_known_how_unlike_days_are():
    days = of_days(np.exp(0.3 * np.random.default_rng(1).standard_normal(20)))
    one = np.full(N, 30.0)
    before = shown(days, 20, one, np.full(N, 20.0))
    for day in (-20_000, 400):  # of a clock that was off
        days.add(np.array([0]), np.array([day * DAY]), np.array([[0.0], [1e-3], [0.0]]))
    np.testing.assert_allclose(shown(days, 20, one, np.full(N, 20.0)), before, rtol=1e-3)


def day_by_day(share, returned, effect, days, lag=2):
    """What days are found to be by a shop that tells a share of its sales with its impressions, the
    rest, less what came back, days later; all of it is what is expected of usual days."""
    draws, told, found, later = np.random.default_rng(6), DayEffects(), [], []
    row, none = np.arange(N), np.zeros(N)
    for day, at in enumerate(np.full((days, N), DAY) * np.arange(days)[:, None]):
        expected = np.full(N, 20.0)
        units = draws.poisson(expected * effect[day] / (1.0 - returned))
        now = draws.binomial(units, share)
        one = np.stack([now, expected, none])
        found.append(told.shown(row, at, one, told.forecast(at)))
        told.add(row, at, one)
        back = draws.binomial(units, returned)
        later.append((row, at, np.stack([none, none, units - now - back])))
        if day >= lag:
            told.add(*later[day - lag])
    return np.array(found), told.forecast(np.array([days * DAY]))


@pytest.mark.parametrize(("share", "returned"), [(0.5, 0.0), (1.0, 0.4), (0.3, 0.2)])
def test_sales_that_are_told_later_make_no_quiet_day(share, returned):
    effect = np.where(np.arange(40) == 38, 1.6, 1.0)
    found, expected = day_by_day(share, returned, effect, 40)
    assert np.abs(np.log(found[16:38])).max() < 0.1
    assert 1.2 < np.median(found[38]) < 2.0
    assert 0.9 < expected[0] < 1.3


def test_days_of_which_no_sale_is_told_yet_are_as_expected():
    found, expected = day_by_day(0.0, 0.0, np.ones(10), 10)
    np.testing.assert_allclose(np.append(found, expected), 1.0, atol=0.06)
    # nor where a shop that told them together no longer does
    days = of_days(np.ones(20))
    nothing, later = shown(days, 20, np.zeros(N), np.full(N, 20.0)), np.full(N, 20.0)
    assert nothing.tolist() == [1.0] * N
    days.add(np.arange(N), np.full(N, 20 * DAY), np.stack([0 * later, later, later]))
    assert abs(np.log(days.forecast(np.array([21 * DAY]))[0])) < 0.1
    # of so few that some days bring none, a day of none is told
    assert (shown(days, 21, np.zeros(N), np.full(N, 0.1)) < 1.0).all()


def shop(make, days, effect, rounds, n=120, impressions=100):
    """A shop whose days are to listings what `effect` says, (days,) or (days, n): at which prices
    it ends, log of those that are best, the last decisions, and what its days were found to be."""
    draws, policy, listings = np.random.default_rng(5), Policy(), catalogue(make, n, 1)
    found = []
    value, cost = np.exp(listings.anchor), listings.context.unit_cost
    for day in range(rounds):
        context = dataclasses.replace(listings.context, at=np.full(n, day * DAY))
        today = dataclasses.replace(listings, context=context)
        made = policy.decide(today, make.random_ids(day, n))
        rate = 0.05 * np.exp(-2 * (made.price / 100 / value - 1))
        units = draws.poisson(impressions * rate * effect[day])
        outcome = outcomes_of(today, made, np.full(n, impressions), units, day * DAY)
        if days:
            outcome = policy.dated(outcome)
            found.append(outcome.day)
        policy.learn(outcome)
        if day < 3 or day % 4 == 0:
            policy.learn_population(*rows_of(today, policy.consulted()))
    context = dataclasses.replace(listings.context, at=np.full(n, rounds * DAY))
    last = dataclasses.replace(listings, context=context)
    best = cost + value / 2  # (p − c) exp(−2 p / v)
    made = policy.decide(last, make.random_ids(99, n), explore=False)
    return np.log(made.price / 100 / best), made, np.array(found)


def test_growth_is_not_taken_for_buyers_who_do_not_mind_the_price(make):
    effect = np.exp(0.05 * np.arange(31))
    off, made, found = shop(make, True, effect, 30)
    misled, _, _ = shop(make, False, effect, 30)
    assert np.sqrt((off**2).mean()) < 0.75 * np.sqrt((misled**2).mean())
    gone = np.log(found.mean(1)[10:] / effect[10:30])
    assert gone.std() < 0.1  # but for what was usual when it all began
    # and what is told of demand grows with it
    value = np.exp(catalogue(make, 120, 1).anchor)
    true = 0.05 * np.exp(-2 * (made.price / 100 / value - 1)) * effect[30]
    mean = np.take_along_axis(made.estimates.mean, made.arm[:, None], 1)[:, 0]
    assert abs(np.log(mean / true).mean()) < 0.25
    # as sure as if levels stayed, while the last days count most: fewer hold than of days alike
    assert ((made.low <= true) & (true <= made.high)).mean() > 0.6


def test_a_third_of_listings_that_change_on_one_day_are_hardly_a_day_of_the_shop(make):
    effect = np.ones((28, 120))
    effect[10:, ::3] = 0.2
    _, _, found = shop(make, True, effect, 28, impressions=400)
    assert 0.78 < np.median(found[24:]) < 1.05  # 0.81 to 0.86 in eight draws of its buyers


def test_days_that_are_alike_are_found_alike(make):
    _, _, found = shop(make, True, np.ones(31), 20)
    assert np.abs(np.log(found)).max() < 0.1
    assert np.abs(np.log(found[5:])).max() < 0.04


def test_exposures_are_of_usual_days(make):
    policy, listings = Policy(), catalogue(make, 3)
    made = policy.decide(listings, make.random_ids(0, 3))
    one = outcomes_of(listings, made, np.full(3, 100), np.full(3, 8))
    policy.learn(dataclasses.replace(one, day=np.array([1.0, 2.0, 0.5])))
    usual = Policy()
    usual.learn_curves(dataclasses.replace(one, impressions=np.array([100.0, 200.0, 50.0])))
    ours, theirs = (p.evidence.gather(np.arange(3))[0] for p in (policy, usual))
    np.testing.assert_allclose(ours, theirs)


def test_parts_of_a_decision_that_fell_on_unlike_days_add_up(make):
    policy, listings = Policy(), catalogue(make, 3)
    made = policy.decide(listings, make.random_ids(0, 3))
    first = outcomes_of(listings, made, np.full(3, 100), np.full(3, 8))
    second = outcomes_of(listings, made, np.full(3, 50), np.full(3, 2), DAY)
    policy.learn(dataclasses.replace(first, day=np.full(3, 2.0)))
    before = told(np.full(3, 100), np.full(3, 8))
    before[:, 2] = 200.0
    policy.learn(dataclasses.replace(second, day=np.full(3, 0.5)), before)
    at_once = Policy()
    at_once.learn_curves(outcomes_of(listings, made, np.full(3, 225), np.full(3, 10)))
    ours, theirs = (p.evidence.gather(np.arange(3))[0][:, 0] for p in (policy, at_once))
    np.testing.assert_allclose(ours, theirs)


@pytest.mark.parametrize("mistyped", [1e6, -1e6], ids=["sold", "returned"])
def test_one_mistyped_outcome_is_not_everybody_s_day(make, mistyped):
    def after(units):
        policy, listings = Policy(), catalogue(make, 40)
        for day in range(4):
            context = dataclasses.replace(listings.context, at=np.full(40, day * DAY))
            today = dataclasses.replace(listings, context=context)
            made = policy.decide(today, make.random_ids(day, 40))
            sold = np.full(40, 30.0)
            sold[0] = units if day == 3 else 30.0
            one = outcomes_of(today, made, np.full(40, 1000), sold, day * DAY)
            found = policy.dated(one).day
            policy.learn(dataclasses.replace(one, day=found))
        return found[1]

    assert abs(np.log(after(mistyped) / after(30.0))) < 0.4


@pytest.mark.parametrize("lag", [0, 3])
def test_a_shop_that_tells_sales_apart_from_impressions_prices_as_one_that_does_not(make, lag):
    """Each decision's impressions first; its units in another outcome, days later."""
    n, rounds, policy, listings = 60, 16, Policy(), catalogue(make, 60, 1)
    draws, value, later = np.random.default_rng(5), np.exp(listings.anchor), []
    for day in range(rounds):
        context = dataclasses.replace(listings.context, at=np.full(n, day * DAY))
        today = dataclasses.replace(listings, context=context)
        made = policy.decide(today, make.random_ids(day, n))
        units = draws.poisson(20 * np.exp(-2 * (made.price / 100 / value - 1)))
        first = outcomes_of(today, made, np.full(n, 400), np.zeros(n), day * DAY)
        first = policy.dated(first)
        policy.learn(first)
        before = told(first.impressions, first.units)
        before[:, 2] *= first.day
        later.append((outcomes_of(today, made, np.zeros(n), units, day * DAY), before))
        if day >= lag:
            rest, before = later[day - lag]
            found = policy.dated(rest, before).day
            policy.learn(dataclasses.replace(rest, day=found), before)
        assert np.abs(np.log(first.day)).max() < 0.1
        if day < 3 or day % 4 == 0:
            policy.learn_population(*rows_of(today, policy.consulted()))
