"""Whether who looks answers to the price is told apart from prices that follow who looks."""

import numpy as np
import pytest

from evaluation import Logged, elasticity_of_mass

UNITS, DAYS, ARMS = 60, 40, 8


def drawn(elasticity, seed, units=UNITS, days=DAYS):
    """Draws of a seller who asks less on days on which more look, as a promotion has it."""
    rng = np.random.default_rng(seed)
    n = units * days
    unit, day = np.repeat(np.arange(units), days), np.tile(np.arange(days), units)
    busy = rng.normal(0, 0.5, days)[day]
    ladder = np.exp(rng.normal(2, 1, units))[unit, None] * np.linspace(0.7, 1.4, ARMS)
    lean = rng.normal(0, 2, (n, 1)) - 4 * busy[:, None]
    chance = np.exp(lean * np.log(np.linspace(0.7, 1.4, ARMS)))
    chance /= chance.sum(1, keepdims=True)
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
