"""Whether who looks answers to the price is told apart from prices that follow who looks."""

import numpy as np
import pytest

from evaluation import Logged, elasticity_of_mass

UNITS, DAYS, ARMS = 60, 40, 8


def drawn(elasticity, seed, units=UNITS, days=DAYS, steady=0.0):
    """Draws of a seller who asks less on days on which more look, as a promotion has it, and in
    `steady` of all cases the price that is the best for the unit.
    """
    rng = np.random.default_rng(seed)
    n = units * days
    unit, day = np.repeat(np.arange(units), days), np.tile(np.arange(days), units)
    busy = rng.normal(0, 0.5, days)[day]
    ladder = np.exp(rng.normal(2, 1, units))[unit, None] * np.linspace(0.7, 1.4, ARMS)
    lean = rng.normal(0, 2, (n, 1)) - 4 * busy[:, None]
    chance = np.exp(lean * np.log(np.linspace(0.7, 1.4, ARMS)))
    chance *= (1.0 - steady) / chance.sum(1, keepdims=True)
    chance[np.arange(n), unit % ARMS] += steady
    action = (chance.cumsum(1) < rng.random((n, 1))).sum(1).clip(max=ARMS - 1)
    price = ladder[np.arange(n), action]
    mean = np.exp(rng.normal(4, 1, units))[unit] * np.exp(busy + rng.normal(0, 0.3, n))
    shown = rng.poisson(mean * (price / ladder.mean(1)) ** elasticity) + 1.0
    rows = np.arange(n)
    logged = Logged(action, np.zeros(n), chance[rows, action], ARMS, chance, shown)
    return logged, ladder, unit


@pytest.mark.parametrize("elasticity", [-1.0, -0.4, 0.0, 0.5])
def test_the_elasticity_is_found_where_prices_follow_who_looks(elasticity):
    found = elasticity_of_mass(*drawn(elasticity, seed=1))
    assert found.low < elasticity < found.high
    assert found.high - found.low < 0.6


@pytest.mark.statistical
def test_false_alarms_are_as_rare_as_is_said():
    """Of 400 logs 0.4 are expected; 5 or more once in fifteen thousand runs."""
    found = [elasticity_of_mass(*drawn(0.0, seed, units=20, days=15)) for seed in range(400)]
    assert sum(not one.low <= 0 <= one.high for one in found) < 5


@pytest.mark.parametrize(("units", "days"), [(5, 4), (1, 20), (20, 15), (100, 2)])
def test_the_few_that_were_not_at_the_usual_price_are_no_proof(units, days):
    """Of 200 logs 0.2 are expected; 4 or more once in fifteen thousand runs."""
    found = [elasticity_of_mass(*drawn(0.0, seed, units, days, 0.93)) for seed in range(200)]
    assert sum(not one.low <= 0 <= one.high for one in found if one) < 4


def test_one_draw_tells_nothing():
    logged, price, unit = drawn(0.0, seed=5, units=1, days=2)
    one = Logged(
        logged.action, logged.reward, logged.propensity, ARMS, logged.propensities, logged.mass,
        np.zeros(2, np.int64),
    )  # fmt: skip
    assert elasticity_of_mass(one, price, unit) is None


def test_parts_of_one_draw_count_as_one():
    logged, price, unit = drawn(-1.0, seed=2, units=10)
    again = np.concatenate([np.arange(len(unit))] * 4)
    doubled = Logged(
        logged.action[again], logged.reward[again], logged.propensity[again], ARMS,
        logged.propensities[again], logged.mass[again], again,
    )  # fmt: skip
    one = elasticity_of_mass(logged, price, unit)
    # listings of their own, as members of a family are
    members = unit[again] + 10 * np.repeat(np.arange(4), len(unit))
    other = elasticity_of_mass(doubled, price[again], members)
    assert other.value == pytest.approx(one.value)
    assert other.se == pytest.approx(one.se)


def test_ladders_may_be_of_unlike_lengths():
    logged, price, unit = drawn(-1.0, seed=3)
    wider = np.concatenate([price, np.full((len(unit), 2), np.nan)], 1)
    chance = np.concatenate([logged.propensities, np.zeros((len(unit), 2))], 1)
    longer = Logged(logged.action, logged.reward, logged.propensity, ARMS + 2, chance, logged.mass)
    assert elasticity_of_mass(longer, wider, unit) == elasticity_of_mass(logged, price, unit)


def test_units_of_one_row_and_prices_without_chance_tell_nothing():
    logged, price, _ = drawn(-1.0, seed=4, units=5, days=3)
    assert elasticity_of_mass(logged, price, np.arange(15)) is None
    sure = np.zeros((15, ARMS))
    sure[np.arange(15), logged.action] = 1.0
    fixed = Logged(logged.action, logged.reward, np.ones(15), ARMS, sure, logged.mass)
    assert elasticity_of_mass(fixed, price, np.repeat(np.arange(5), 3)) is None
