from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_markets import buyers_of, shop_of

from markets import FAMILIES, Buyers, Calendar, Conditions, Season, chance

N = 4000


def crowd(family: str, n: int = 60, seed: int = 3) -> Buyers:
    """Buyers of one family whose properties are all over the place."""
    rng = np.random.default_rng(seed)
    return replace(
        buyers_of(n, family, seed=seed),
        value=rng.uniform(1, 50, n),
        unit_cost=rng.uniform(0, 30, n),
        elasticity=-rng.uniform(1.05, 4.5, n),
        conversion=rng.uniform(0.005, 0.25, n),
        choke=rng.uniform(1.8, 4, n),
    )


def spent(season: Season, price: float, days: int) -> None:
    for _ in range(days):
        season.step(np.full(len(season.buyers), price))


# Nothing happens, or something is wrong


def test_without_conditions_a_season_is_its_buyers() -> None:
    buyers = crowd("logit")
    season = Season(buyers, Conditions(days=3))
    for day in range(3):
        assert season.day == day
        assert not season.done
        shown = season.impressions()
        np.testing.assert_array_equal(shown, buyers.impressions(day))
        happened = season.step(buyers.value)
        np.testing.assert_array_equal(happened.impressions, shown)
        np.testing.assert_array_equal(happened.units, buyers.sell(day, buyers.value, shown))
        np.testing.assert_array_equal(happened.reported, happened.units)
        gain = shown * buyers.profit_per_impression(buyers.value)
        np.testing.assert_allclose(happened.expected, gain)
    assert season.done
    with pytest.raises(RuntimeError, match="over after 3 days"):
        season.step(buyers.value)


@pytest.mark.parametrize("bad", [[1.0], [[1.0, 2.0]], [np.nan, 1.0], [np.inf, 1.0], [-1.0, 1.0]])
def test_bad_prices_are_refused(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="expected 2 finite prices"):
        Season(buyers_of(2), Conditions()).step(bad)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="5 listings cannot be divided into groups of 2"):
        Season(buyers_of(5), Conditions(group=2))
    calendar = Calendar.from_history(shop_of(2))
    for dates in (None, np.zeros(3, np.int64)):
        with pytest.raises(ValueError, match="one for each of 2"):
            Season(buyers_of(2), Conditions(), calendar=calendar, first_date=dates)
    with pytest.raises(ValueError, match="profit or revenue"):
        Season(buyers_of(2), Conditions(), objective="sales")  # type: ignore[arg-type]


def test_prices_of_days_gone_are_kept_as_they_were() -> None:
    season, prices = Season(buyers_of(3), Conditions()), np.array([1.0, 2.0, 3.0])
    for day in range(4):
        season.step(prices)
        prices += 10 * (day + 1)
    charged = season.price_on(np.array([0, 3, 1, 1]), np.array([2, 0, 1, 1]))
    assert charged.tolist() == [3.0, 61.0, 12.0, 12.0]


# Conditions, one at a time


def test_memory_by_hand() -> None:
    season = Season(buyers_of(), Conditions(memory=0.5))
    plain = season.buyers.units_per_impression
    at = np.array([12.0])
    np.testing.assert_array_equal(season.demand(at), plain(at))  # nothing remembered yet
    season.step(np.array([8.0]))
    assert season.remembered.tolist() == [8.0]
    season.step(np.array([11.0]))
    assert season.remembered[0] == pytest.approx(0.8 * 8 + 0.2 * 11)
    m = 8.6
    cheap, dear = np.array([7.0]), np.array([12.0])
    assert season.demand(cheap)[0] == pytest.approx(plain(cheap)[0] * np.exp(0.5 * (m - 7) / 10))
    assert season.demand(dear)[0] == pytest.approx(plain(dear)[0] * np.exp(0.5 * 2 * (m - 12) / 10))
    both = season.demand(np.array([[7.0, 12.0]]))
    np.testing.assert_array_equal(both[0], [season.demand(cheap)[0], season.demand(dear)[0]])


def test_memory_of_extreme_prices_stays_a_share() -> None:
    season = Season(buyers_of(2, "constant"), Conditions(memory=10.0))
    season.step(np.array([0.0, 1e9]))
    with np.errstate(all="raise", under="ignore"):
        demand = season.demand(np.array([[0.0, 1.0, 1e6], [0.0, 1.0, 1e6]]))
    assert ((demand >= 0) & (demand <= 1)).all()
    assert demand[:, 2].tolist() == [0.0, 0.0]


def test_a_turn_changes_a_share_of_the_elasticities_from_its_day_on() -> None:
    season = Season(buyers_of(N), Conditions(turn=0.5, turn_day=2, turn_share=0.25))
    for day in range(4):
        turned = season.today.elasticity != -2.0
        assert (season.today.elasticity[turned] == -1.0).all()
        # 4.5 standard errors of a binomial share
        assert abs(turned.mean() - (0.25 if day >= 2 else 0.0)) < 4.5 * (0.1875 / N) ** 0.5
        spent(season, 10.0, 1)
    late = Season(buyers_of(N), Conditions(days=3, turn_day=500, turn_share=1.0))
    spent(late, 10.0, 2)
    assert (late.today.elasticity == -2.0).all()


def test_promotions_last_three_days() -> None:
    season = Season(buyers_of(N), Conditions(days=60, promotions=0.05))
    on = []
    for _ in range(60):
        assert season.promotion.dtype == np.bool_
        lifted = np.where(season.promotion, 0.15, 0.1)
        np.testing.assert_allclose(season.today.conversion, lifted)
        on.append(season.promotion)
        spent(season, 10.0, 1)
    days = np.array(on)  # (60, n)
    inner = days[1:-3] & ~days[:-4]  # a promotion begins: it is on the next two days as well
    assert (days[2:-2][inner] & days[3:-1][inner]).all()


@pytest.mark.statistical
def test_promotions_begin_as_often_as_stated() -> None:
    # False alarm: 4.5 standard errors, about 1e-5; seeded. On unless none began in three days.
    season = Season(buyers_of(N), Conditions(promotions=0.05))
    spent(season, 10.0, 10)
    share = 1 - 0.95**3
    assert abs(season.promotion.mean() - share) < 4.5 * (share * (1 - share) / N) ** 0.5


@pytest.mark.statistical
def test_shocks_and_drift_have_their_spreads() -> None:
    # False alarms: six standard deviations and a correlation at 4.5 standard errors; seeded.
    season = Season(buyers_of(N), Conditions(shocks=0.2, drift=0.1))
    before = np.zeros(N)
    for day in range(1, 4):
        walk = np.log(season.today.value / 10.0)
        shock = np.log(season.today.conversion / 0.1)
        for spread, of in ((0.1, walk - before), (0.2, shock)):
            assert abs(of.std() / spread - 1) < 4.5 / (2 * N) ** 0.5
            assert abs(of.mean()) < 4.5 * spread / N**0.5
        assert abs(walk.std() / (0.1 * day**0.5) - 1) < 4.5 / (2 * N) ** 0.5
        before = walk
        spent(season, 10.0, 1)


def test_conversions_stop_at_nine_in_ten() -> None:
    buyers = buyers_of(N, "constant", conversion=0.25)
    season = Season(buyers, Conditions(shocks=2.0, promotions=1.0))
    assert season.today.conversion.max() == 0.9
    assert season.demand(np.full(N, 10.0)).max() == pytest.approx(0.9)
    day = season.step(np.zeros(N))  # everyone buys what is free
    np.testing.assert_array_equal(day.units, day.impressions)


@pytest.mark.statistical
def test_rivals_pull_the_value_and_move_on_one_day_in_ten() -> None:
    # False alarms: three z values at 4.5, below 3e-5; seeded.
    season = Season(buyers_of(N), Conditions(competitors=0.3))
    log = np.log(season.rival / 10.0)
    assert abs(log.std() / 0.15 - 1) < 4.5 / (2 * N) ** 0.5
    assert abs(log.mean()) < 4.5 * 0.15 / N**0.5
    np.testing.assert_allclose(season.today.value, 10**0.7 * season.rival**0.3)
    first = season.rival
    spent(season, 10.0, 1)
    assert abs((season.rival != first).mean() - 0.1) < 4.5 * (0.09 / N) ** 0.5
    np.testing.assert_allclose(season.today.value, 10**0.7 * season.rival**0.3)


def test_without_rivals_there_is_no_price_of_theirs() -> None:
    assert np.isnan(Season(buyers_of(2), Conditions()).rival).all()


@settings(max_examples=40, deadline=None)
@given(
    low=st.integers(0, 30),
    more=st.integers(0, 30),
    price=st.floats(0, 20),
    group=st.sampled_from([1, 2]),
)
def test_stock_is_never_oversold(low: int, more: int, price: float, group: int) -> None:
    conditions = Conditions(days=6, stock=(low, low + more), prompt=0.5, delay=2.0, group=group)
    season = Season(buyers_of(20), conditions)
    assert season.stock is not None
    start = season.stock.copy()
    assert ((start >= low) & (start <= low + more)).all()
    sold = np.zeros(20, np.int64)
    while not season.done:
        day = season.step(np.full(20, price))
        assert (day.reported <= day.units).all()
        sold += day.units
        assert season.stock is not None
        assert (season.stock >= 0).all()
        np.testing.assert_array_equal(start - season.stock, sold)


@pytest.mark.statistical
def test_stock_is_drawn_evenly() -> None:
    # False alarm: chi-square p-value at 1e-4; seeded.
    season = Season(buyers_of(N), Conditions(stock=(3, 6)))
    assert season.stock is not None
    counts = np.bincount(season.stock, minlength=7)[3:]
    assert counts.sum() == N
    assert ((counts - N / 4) ** 2 / (N / 4)).sum() < 21.1


def test_a_calendar_moves_impressions_with_each_listings_own_date() -> None:
    calendar = Calendar(np.array([0.0, 1, 1, 1, 1, 1, 2]), np.ones(12), np.zeros(1, np.int64))
    monday, sunday = 4, 3  # days since 1970-01-01, a Thursday
    season = Season(
        buyers_of(2, shown=500.0), Conditions(), calendar=calendar,
        first_date=np.array([monday, sunday]),
    )  # fmt: skip
    np.testing.assert_array_equal(season.mean_impressions(0), [0.0, 1000.0])
    np.testing.assert_array_equal(season.mean_impressions(1), [500.0, 0.0])
    assert season.impressions()[0] == 0
    assert season.impressions()[1] > 800


# Substitutes


def test_substitutes_by_hand() -> None:
    season = Season(buyers_of(2), Conditions(group=2, nest=0.5))
    # At v each alone converts at 0.1: odds 1/9, weights 1/81, W^0.5 = sqrt(2)/9
    odds = 2**0.5 / 9
    share = odds / (1 + odds) / 2
    np.testing.assert_allclose(season.demand(np.array([10.0, 10.0])), share)
    # nobody takes what is beyond reach, and the other one sells as if alone
    np.testing.assert_allclose(season.demand(np.array([10.0, 1e9])), [0.1, 0.0], atol=1e-12)


def test_independent_substitutes_share_as_a_plain_logit() -> None:
    season = Season(buyers_of(3), Conditions(group=3, nest=1.0))
    np.testing.assert_allclose(season.demand(np.full(3, 10.0)), (1 / 9) / (1 + 3 / 9))


@given(nest=st.floats(0.01, 1.0), prices=st.lists(st.floats(0, 1000), min_size=4, max_size=4))
def test_substitutes_share_no_more_than_everyone(nest: float, prices: list[float]) -> None:
    season = Season(buyers_of(4, "constant"), Conditions(group=2, nest=nest))
    with np.errstate(all="raise", under="ignore"):
        demand = season.demand(np.array(prices)).reshape(2, 2)
    alone = season.buyers.units_per_impression(np.array(prices)).reshape(2, 2)
    assert (demand >= 0).all()
    assert (demand.sum(axis=1) <= 1 + 1e-12).all()
    assert (demand <= alone + 1e-9).all()
    assert (demand.sum(axis=1) >= alone.max(axis=1) - 1e-9).all()


def test_nearly_equal_goods_go_to_the_better_offer() -> None:
    season = Season(buyers_of(2), Conditions(group=2, nest=0.01))
    np.testing.assert_allclose(season.demand(np.array([10.0, 11.0])), [0.1, 0.0], atol=1e-8)


@pytest.mark.statistical
def test_a_visitor_takes_one_substitute_at_most() -> None:
    # False alarms: four z values and one covariance at 4.5 standard errors; seeded.
    season = Season(buyers_of(4 * N, shown=20.0, conversion=0.25), Conditions(group=4))
    prices = np.tile([5.0, 6.0, 7.0, 8.0], N)
    demand = season.demand(prices).reshape(N, 4)
    day = season.step(prices)
    units, shown = day.units.reshape(N, 4), day.impressions.reshape(N, 4)
    assert (shown == shown[:, :1]).all()
    assert (units.sum(axis=1) <= shown[:, 0]).all()
    expected = demand * shown
    z = (units - expected).sum(axis=0) / (expected * (1 - demand)).sum(axis=0) ** 0.5
    assert np.abs(z).max() < 4.5
    # multinomial: two offers take from each other
    product = (units - expected)[:, 0] * (units - expected)[:, 1]
    stated = -(shown[:, 0] * demand[:, 0] * demand[:, 1])
    assert abs((product - stated).mean()) < 4.5 * product.std() / N**0.5


# The best prices


@pytest.mark.parametrize("memory", [3.0, 10.0])
def test_no_price_beats_the_best_after_a_dear_one(memory: float) -> None:
    season = Season(crowd("exponential"), Conditions(memory=memory))
    season.step(5.0 * season.today.value)
    grid = np.geomspace(0.2, 8.0, 500) * season.today.value[:, None]
    best = season.gain(season.best_prices())
    assert (season.gain(grid).max(axis=1) <= best * (1.0 + 1e-9)).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("objective", ["profit", "revenue"])
@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_no_price_beats_the_best(family: str, objective: str, memory: float) -> None:
    season = Season(
        crowd(family), Conditions(memory=memory, turn_day=0), objective=objective  # type: ignore[arg-type]
    )  # fmt: skip
    season.step(season.buyers.value)
    best = season.gain(season.best_prices())
    v, c = season.today.value[:, None], season.buyers.unit_cost[:, None]
    grid = np.concatenate([v * np.linspace(0.01, 6, 3000), c + v * np.linspace(0, 6, 3000)], axis=1)
    assert (best >= season.gain(grid).max(axis=1) * (1 - 1e-6)).all()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("nest", [0.3, 1.0])
def test_no_price_of_one_substitute_beats_the_best_of_all(family: str, nest: float) -> None:
    season = Season(crowd(family, 30), Conditions(group=3, nest=nest))
    best = season.best_prices()
    total = season.gain(best).reshape(-1, 3).sum(axis=1)
    factors = np.linspace(0.3, 3, 400)
    for member in range(3):
        tried = np.repeat(best[:, None], factors.size, axis=1)
        tried[member::3] *= factors
        others = season.gain(tried).reshape(-1, 3, factors.size).sum(axis=1)
        assert (total[:, None] >= others * (1 - 1e-3)).all()
    # nor do the prices that are best for each alone
    alone = season.gain(season.buyers.clairvoyant()).reshape(-1, 3).sum(axis=1)
    assert (total >= alone * (1 - 1e-6)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_no_pair_of_prices_beats_the_best_of_two_substitutes(family: str) -> None:
    season = Season(crowd(family, 300, seed=5), Conditions(group=2, nest=0.3))
    best = season.gain(season.best_prices()).reshape(-1, 2).sum(axis=1)
    steps = np.append(np.linspace(0, 1.2, 60), 50.0)  # the last: not offered at all
    both = np.stack(np.meshgrid(steps, steps)).reshape(2, -1)
    span = season.buyers.value * np.maximum(-5 / season.buyers.elasticity, season.buyers.choke)
    prices = season.buyers.unit_cost[:, None] + span[:, None] * np.tile(both, (150, 1))
    tried = season.gain(prices).reshape(-1, 2, both.shape[1]).sum(axis=1).max(axis=1)
    short = tried - best > 1e-3 * tried
    assert short.sum() <= (2 if family == "constant" else 0)
    assert (tried - best).sum() <= 1e-3 * best.sum()


def test_everything_follows_from_the_keys() -> None:
    conditions = Conditions(
        days=8, competitors=0.3, promotions=0.2, shocks=0.2, drift=0.05, turn_day=3, memory=1.0,
        stock=(5, 60), prompt=0.5, delay=2.0, lost=0.2,
    )  # fmt: skip
    buyers = crowd("linear", 40)
    one, same = Season(buyers, conditions), Season(buyers, conditions)
    few = Season(buyers.take(np.array([31, 4])), conditions)
    other = Season(replace(buyers, keys=chance.keys(99, 40)), conditions)
    differs = False
    for _ in range(8):
        prices = one.today.value * 0.9
        days = [one.step(prices), same.step(prices), other.step(prices)]
        part = few.step(prices[[31, 4]])
        for name in ("impressions", "units", "reported", "expected"):
            first, second, third = (getattr(day, name) for day in days)
            np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(getattr(part, name), first[[31, 4]])
            differs |= bool((first != third).any())
        np.testing.assert_array_equal(days[0].late.units, days[1].late.units)
    assert differs
