"""What a day is to a category is told by its other listings, and is no answer to prices."""

import dataclasses

import numpy as np
import pytest
from trained_policy import DAY, catalogue, outcomes_of, rows_of

from bandits import CategoryDays, Policy
from bandits.category_days import DAYS
from bandits.days import GROUPS, MOST, DayEffects

N, KINDS = 128, 4
LISTING = np.arange(N)
CATEGORY = LISTING // (N // KINDS)


class Shop:
    """`N` listings of `KINDS` categories, of which units are told and expected day by day."""

    def __init__(self, seed=0):
        self.days = DayEffects()
        self.own = CategoryDays(self.days)
        self.draws = np.random.default_rng(seed)

    def sell(self, day, effect, expected=20.0, at_once=1.0, category=CATEGORY):
        """Tell a day of what it was to each category, (KINDS,); what it was found to be, (n,)."""
        e = np.full(N, expected)
        units = self.draws.poisson(e * np.asarray(effect)[CATEGORY])
        told = self.draws.binomial(units, at_once)
        at = np.full(N, day * DAY)
        found = self.tell(at, np.stack([told, e, np.zeros(N)]), category)
        self.tell(at, np.stack([np.zeros(N), np.zeros(N), units - told]), category)
        return found

    def tell(self, at, told, category=CATEGORY, listing=LISTING):
        usual = self.days.shown(listing, at, told, np.ones(len(listing)))
        found = self.own.shown(listing, category, at, told, usual)
        self.days.add(listing, at, told)
        self.own.add(listing, category, at, told)
        return found

    def forecast(self, day, category=CATEGORY):
        at = np.full(N, day * DAY)
        return self.days.forecast(at) * self.own.forecast(LISTING, category, at)


def by_category(found):
    return found.reshape(KINDS, -1).mean(1)


def test_before_any_day_was_told_each_is_usual():
    shop = Shop()
    assert shop.forecast(5).tolist() == [1.0] * N
    nothing = np.empty(0, np.int64)
    assert shop.tell(nothing, np.empty((3, 0)), nothing, nothing).shape == (0,)
    assert shop.own.sums.shape[1] == 0


def test_a_category_s_busy_days_are_its_own():
    shop, busy = Shop(), np.array([2.5, 1.0, 1.0, 0.5])
    for day in range(10):
        shop.sell(day, np.ones(KINDS))
    for day in range(10, 16):
        found = shop.sell(day, busy)
    np.testing.assert_allclose(by_category(found), busy, rtol=0.12)
    np.testing.assert_allclose(by_category(shop.forecast(16)), busy, rtol=0.35)
    # and what is told of no category is told of all alike
    stranger = shop.forecast(16, np.full(N, -1))
    assert stranger.std() < 1e-12
    assert abs(stranger[0] - busy.mean()) < 0.3
    assert (shop.forecast(16, np.full(N, 99)) == stranger).all()


def test_where_categories_have_no_days_of_their_own_chance_is_not_taken_for_them():
    shop, draws = Shop(), np.random.default_rng(1)
    for day in range(25):
        effect = np.full(KINDS, np.exp(0.3 * draws.standard_normal()))
        found = shop.sell(day, effect, expected=2.0)
    plain = shop.days.shown(LISTING, np.full(N, 24 * DAY), np.zeros((3, N)), np.ones(N))
    assert np.abs(np.log(found / plain)).max() < 0.1
    assert (
        np.abs(
            np.log(by_category(shop.own.forecast(LISTING, CATEGORY, np.full(N, 25 * DAY))))
        ).max()
        < 0.05
    )


def test_a_listing_s_own_sales_are_never_taken_for_its_category_s_day():
    shop = Shop()
    for day in range(5):
        shop.sell(day, np.ones(KINDS))
    units = np.full(N, 20.0)
    units[3] *= 10
    found = shop.tell(np.full(N, 5 * DAY), np.stack([units, np.full(N, 20.0), np.zeros(N)]))
    same_part = LISTING % GROUPS == 3
    assert (found[same_part & (CATEGORY == 0)] < 1.05).all()
    alone = Shop()  # one listing in its category, and one of the same part
    for listing in (np.array([0]), np.array([0, GROUPS])):
        at, told = (
            np.zeros(len(listing), np.int64),
            np.full((3, len(listing)), [[300.0], [20], [0]]),
        )
        assert alone.tell(at, told, np.zeros(len(listing), np.int64), listing).tolist() == [
            1.0
        ] * len(listing)


@pytest.mark.parametrize("at_once", [0.6, 0.0])
def test_sales_that_are_told_later_make_no_quiet_days(at_once):
    shop = Shop()
    for day in range(30):
        found = shop.sell(day, np.ones(KINDS), at_once=at_once)
    assert np.abs(np.log(by_category(found))).max() < 0.15
    assert np.abs(np.log(by_category(shop.forecast(30)))).max() < 0.15


def test_what_is_told_of_listings_without_a_category_counts_at_once():
    shop = Shop(6)
    for day in range(6):
        shop.sell(day, [1.0, 1.0, 2.0, 0.5])
    shop.forecast(6)  # what is worked out here is not to be kept
    told = np.stack([np.full(N, 60.0), np.full(N, 20.0), np.zeros(N)])
    shop.tell(np.full(N, 5 * DAY), told, np.full(N, -1))
    anew = CategoryDays(shop.days)
    anew.restore(shop.own.day, shop.own.sums)
    at = np.full(N, 6 * DAY)
    found = shop.own.forecast(LISTING, CATEGORY, at)
    np.testing.assert_array_equal(found, anew.forecast(LISTING, CATEGORY, at))


def test_days_are_bounded():
    shop = Shop()
    for day in range(5):
        shop.sell(day, np.ones(KINDS))
    for units in (np.full(N, -5.0), np.full(N, 1e7)):
        told = np.stack([units, np.full(N, 20.0), np.zeros(N)])
        found = shop.tell(np.full(N, 6 * DAY), told)
        assert ((found >= 1 / MOST) & (found <= MOST)).all()


def test_days_come_in_any_order_sums_add_up_and_the_latest_are_kept():
    draws, m = np.random.default_rng(4), 800
    listing, category = draws.integers(0, 90, m), draws.integers(-1, 5, m)
    at = draws.integers(100, 100 + DAYS + 20, m) * DAY
    told = np.stack([draws.poisson(3, m), draws.uniform(1, 5, m), draws.poisson(0.3, m)])
    whole = CategoryDays(DayEffects())
    whole.add(listing, category, at, told)
    assert len(whole.day) == DAYS
    assert whole.day[-1] == at.max() // DAY
    parts = CategoryDays(DayEffects())
    for part in np.array_split(draws.permutation(m), 9):
        parts.add(listing[part], category[part], at[part], told[:, part])
    np.testing.assert_array_equal(parts.day, whole.day)
    np.testing.assert_allclose(parts.sums, whole.sums)
    kept = (at // DAY >= whole.day[0]) & (category >= 0)
    np.testing.assert_allclose(whole.sums.sum((1, 2, 3)), told[:2, kept].sum(1))


def test_one_outcome_of_another_year_switches_nothing_off():
    shop, busy = Shop(), np.array([2.5, 1.0, 1.0, 0.5])
    at, told = np.array([900 * DAY]), np.array([[1.0], [1.0], [0.0]])
    shop.tell(at, told, np.zeros(1, np.int64), np.zeros(1, np.int64))
    for day in range(15):
        found = shop.sell(day, busy if day > 5 else np.ones(KINDS))
    np.testing.assert_allclose(by_category(found), busy, rtol=0.15)
    np.testing.assert_allclose(by_category(shop.forecast(15)), busy, rtol=0.35)


def test_a_category_s_season_is_not_taken_for_buyers_who_do_not_mind_the_price(make):
    n, days = 120, 30
    listings = catalogue(make, n, 1)
    value = np.exp(listings.anchor)
    kind = np.arange(n) // (n // 3)
    wave = np.exp(0.8 * np.sin(2 * np.pi * (np.arange(days)[:, None] / 30 + np.arange(3) / 3)))

    def lived(told_of_categories):
        policy, draws = Policy(), np.random.default_rng(5)
        code = kind if told_of_categories else np.full(n, -1)
        context = dataclasses.replace(listings.context, category=code)
        for day in range(days):
            now = dataclasses.replace(context, at=np.full(n, day * DAY))
            today = dataclasses.replace(listings, context=now)
            made = policy.decide(today, make.random_ids(day, n))
            rate = 0.05 * np.exp(-2 * (made.price / 100 / value - 1)) * wave[day, kind]
            one = outcomes_of(today, made, np.full(n, 300), draws.poisson(300 * rate), day * DAY)
            policy.learn(policy.dated(one))
            if day in (0, 1, 2, 6, 12, 20):
                policy.learn_population(*rows_of(today, policy.consulted()))
        best = policy.decide(today, make.random_ids(0, n), explore=False).price / 100
        return np.log(best / (value / 2 + np.nan_to_num(listings.context.unit_cost)))

    with_them, without = lived(True), lived(False)
    assert np.sqrt((with_them**2).mean()) < 0.8 * np.sqrt((without**2).mean())
