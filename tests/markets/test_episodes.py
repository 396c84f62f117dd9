from dataclasses import replace

import numpy as np
import pytest
from small_markets import shop_of

from markets import Calendar, Conditions, Regime, World, chance
from markets.episodes import COLUMNS, Course, Episodes

AT = {name: number for number, name in enumerate(COLUMNS)}
SEEDS = np.arange(30, dtype=np.uint64)
WORLDS: dict[Regime, World] = {
    regime: World.of(shop_of(40), regime) for regime in ("reference", "cost", "text")
}


def begun(regime: Regime = "cost", number: int = 0, **conditions: object) -> Episodes:
    course = Course.of(WORLDS[regime], Conditions(**conditions))  # type: ignore[arg-type]
    return Episodes(course, SEEDS, number)


def arms(episodes: Episodes, arm: int) -> np.ndarray:
    group = episodes.season.conditions.group
    return np.full((episodes.rows.size // group, group), arm)


def test_what_is_known_before_the_first_day() -> None:
    episodes = begun()
    seen, known = episodes.observe()[:, 0], WORLDS["cost"].knowledge
    rows = episodes.rows
    assert seen.shape == (30, 20 + known.vectors.shape[1])
    assert (seen[:, AT["day"]] == 0).all()
    guess = known.guess[rows]
    np.testing.assert_allclose(seen[:, AT["log_guess"]], guess, rtol=1e-6)
    np.testing.assert_allclose(seen[:, AT["guess_sd"]], known.guess_sd[rows], rtol=1e-6)
    cost = np.log(known.unit_cost[rows]) - guess
    np.testing.assert_allclose(seen[:, AT["log_cost"]], cost, rtol=1e-5)
    assert (seen[:, AT["has_cost"]] == 1).all()
    for name in ("has_reference", "log_rival", "has_rival", "promotion", "stock", "has_stock"):
        assert (seen[:, AT[name]] == 0).all(), name
    assert (seen[:, AT["log_price"] : 20] == 0).all()
    np.testing.assert_array_equal(seen[:, 20:], known.vectors[rows])


def test_the_date_is_that_of_the_products_arrival() -> None:
    seen = begun().observe()[:, 0]
    # every product came on 2025-01-01, a Wednesday
    assert (begun()._first_date == 20089).all()
    week, year = 2 * np.pi * 2 / 7, 2 * np.pi * (20089 % 365.25) / 365.25
    expected = [np.sin(week), np.cos(week), np.sin(year), np.cos(year)]
    np.testing.assert_allclose(seen[:, 1:5], np.tile(expected, (30, 1)), rtol=1e-5)


@pytest.mark.parametrize(("regime", "reference", "cost"), [("reference", 1, 1), ("text", 0, 0)])
def test_regimes_say_what_is_known(regime: Regime, reference: int, cost: int) -> None:
    seen = begun(regime).observe()[:, 0]
    assert (seen[:, AT["has_reference"]] == reference).all()
    assert (seen[:, AT["has_cost"]] == cost).all()
    assert (seen[:, AT["log_cost"]] != 0).all() == bool(cost)


def test_a_day_pays_the_margin_and_is_seen_the_day_after() -> None:
    episodes = begun()
    ladders, cost = WORLDS["cost"].knowledge.ladders, WORLDS["cost"].buyers.unit_cost
    own = np.zeros(30)
    for day, arm in enumerate([4, 9, 6]):
        paid, happened = episodes.step(arms(episodes, arm))
        price = ladders[episodes.rows, arm]
        np.testing.assert_array_equal(happened["price"][:, 0], price)
        units = happened["units"][:, 0]
        np.testing.assert_allclose(paid, (price - cost[episodes.rows]) * units)
        seen = episodes.observe()[:, 0]
        relative = np.log(price) - WORLDS["cost"].knowledge.guess[episodes.rows]
        own = 0.8 * own + 0.2 * relative if day else relative
        np.testing.assert_allclose(seen[:, AT["log_price"]], relative, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(seen[:, AT["log_own_price"]], own, rtol=1e-5, atol=1e-6)
        shown = np.log1p(happened["impressions"][:, 0])
        np.testing.assert_allclose(seen[:, AT["log_impressions"]], shown, rtol=1e-6)
        np.testing.assert_allclose(seen[:, AT["log_units"]], np.log1p(units), rtol=1e-6)
        assert (seen[:, AT["log_late_units"]] == 0).all()
        np.testing.assert_allclose(seen[:, AT["day"]], (day + 1) / 30, rtol=1e-6)


def test_revenue_is_paid_where_costs_are_unknown() -> None:
    episodes = begun("text")
    paid, happened = episodes.step(arms(episodes, 8))
    np.testing.assert_allclose(paid, (happened["price"] * happened["units"])[:, 0])


def test_late_units_are_paid_at_the_price_of_their_day() -> None:
    episodes = begun(prompt=0.0)
    cost = episodes.season.cost
    paid, first = episodes.step(arms(episodes, 3))
    assert (paid == 0).all()
    assert (episodes.observe()[:, 0, AT["log_units"]] == 0).all()
    paid, _ = episodes.step(arms(episodes, 12))
    units = first["units"][:, 0]
    np.testing.assert_allclose(paid, (first["price"][:, 0] - cost) * units)
    late = episodes.observe()[:, 0, AT["log_late_units"]]
    np.testing.assert_allclose(late, np.log1p(units), rtol=1e-6)


def test_rivals_promotions_and_stock_are_seen() -> None:
    episodes = begun(competitors=0.3, promotions=0.5, stock=(10**8, 10**8))
    seen, season = episodes.observe()[:, 0], episodes.season
    guess = WORLDS["cost"].knowledge.guess[episodes.rows]
    np.testing.assert_allclose(seen[:, AT["log_rival"]], np.log(season.rival) - guess, atol=1e-6)
    assert (seen[:, [AT["has_rival"], AT["has_stock"]]] == 1).all()
    np.testing.assert_array_equal(seen[:, AT["promotion"]], season.promotion)
    assert 0 < season.promotion.sum() < 30
    np.testing.assert_allclose(seen[:, AT["stock"]], np.log1p(1e8), rtol=1e-6)


def test_an_observation_is_nobody_elses() -> None:
    episodes = begun()
    first = episodes.observe()
    kept = first.copy()
    episodes.step(arms(episodes, 5))
    episodes.observe()[:] = -1
    np.testing.assert_array_equal(first, kept)
    assert (episodes.observe()[:, 0, AT["has_cost"]] == 1).all()


def test_substitutes_are_alike_and_live_on_the_same_days() -> None:
    world = WORLDS["cost"]
    arrival = world.calendar.arrival + np.arange(40)
    calendar = Calendar(world.calendar.weekday, world.calendar.month, arrival)
    course = Course.of(replace(world, calendar=calendar), Conditions(group=4))
    assert course.families.shape == (40, 4)
    assert (course.families[:, 0] == np.arange(40)).all()
    assert all(np.unique(row).size == 4 for row in course.families)
    episodes = Episodes(course, SEEDS, 0)
    seen = episodes.observe()
    assert seen.shape == (30, 4, course.width)
    assert (seen[..., 1:5] == seen[:, :1, 1:5]).all()
    _, happened = episodes.step(arms(episodes, 6))
    assert (happened["impressions"] == happened["impressions"][:, :1]).all()
    whole = Course.of(World.of(shop_of(4), "cost"), Conditions(group=4))
    assert (np.sort(whole.families, axis=1) == np.arange(4)).all()
    with pytest.raises(ValueError, match="group is 41, and the catalogue has 40"):
        Course.of(world, Conditions(group=41))


@pytest.mark.parametrize("bad", [-1, 16, 2**40])
def test_what_is_no_rung_is_refused(bad: int) -> None:
    episodes = begun()
    wrong = arms(episodes, 3)
    wrong[17] = bad
    with pytest.raises(ValueError, match="rungs are 0 to 15"):
        episodes.step(wrong)
    with pytest.raises(ValueError, match="integers of shape"):
        episodes.step(arms(episodes, 3)[:5])
    with pytest.raises(ValueError, match="float64"):
        episodes.step(arms(episodes, 3) * 1.0)  # type: ignore[arg-type]
    assert episodes.season.day == 0


def test_numbers_may_differ_between_episodes() -> None:
    course = Course.of(WORLDS["cost"], Conditions())
    numbers = np.arange(30, dtype=np.uint64) % np.uint64(3)
    mixed = Episodes(course, SEEDS, numbers)
    for number in range(3):
        alike = Episodes(course, SEEDS, number)
        rows = numbers == number
        np.testing.assert_array_equal(mixed.rows[rows], alike.rows[rows])
        np.testing.assert_array_equal(
            mixed.season.impressions()[rows], alike.season.impressions()[rows]
        )


@pytest.mark.statistical
def test_every_product_comes_as_often() -> None:
    # False alarm: 39 degrees of freedom, chi-square above 90 has 1e-5; seeded.
    course = Course.of(WORLDS["cost"], Conditions())
    rows = Episodes(course, np.arange(20_000, dtype=np.uint64), 5).rows
    assert ((np.bincount(rows, minlength=40) - 500) ** 2 / 500).sum() < 90
    keys = Episodes(course, SEEDS, 0).season.buyers.keys
    assert (
        np.unique(np.concatenate([keys, Episodes(course, SEEDS, 1).season.buyers.keys])).size == 60
    )
    assert chance.uniform(keys, 1, 0).std() > 0.2
