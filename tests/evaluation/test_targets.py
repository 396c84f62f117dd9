from pathlib import Path

import numpy as np
import pytest

from evaluation.logged import Unanswerable
from evaluation.targets import TARGETS, Menus

PAGE = (Path(__file__).parents[2] / "docs" / "off_policy.md").read_text()
NAN = float("nan")
MENUS = Menus(
    price=np.array([[2.0, 4.0, 8.0, 16.0], [1.0, 3.0, 9.0, NAN]]),
    propensity=np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.25, 0.25, 0.0]]),
    expected=np.array([[0.0, 5.0, 1.0, -2.0], [-3.0, -2.0, -1.0, NAN]]),
    unit_cost=np.array([2.0, 4.0]),
)


@pytest.mark.parametrize(
    ("name", "arms"),
    [("greedy", [1, 2]), ("cheapest", [0, 0]), ("middle", [1, 1]), ("dearest", [3, 2])],
)
def test_targets_without_chance_take_one_price(name, arms):
    assert (TARGETS[name](MENUS, 2.0) == np.eye(4)[arms]).all()


def test_targets_with_chance_spread_it_over_the_ladder():
    assert (TARGETS["logged"](MENUS, 2.0) == MENUS.propensity).all()
    third = 1 / 3
    assert TARGETS["uniform"](MENUS, 2.0) == pytest.approx(
        np.array([[0.25] * 4, [third, third, third, 0.0]])
    )


def test_cost_plus_is_the_nearest_price_in_ratio():
    assert (TARGETS["cost-plus"](MENUS, 2.0) == np.eye(4)[[1, 2]]).all()
    # 5: as a ratio nearer to 4 than to 8; 10: the highest of its ladder
    assert (TARGETS["cost-plus"](MENUS, 2.5) == np.eye(4)[[1, 2]]).all()
    assert (TARGETS["cost-plus"](MENUS, 0.5) == np.eye(4)[[0, 1]]).all()
    assert (TARGETS["cost-plus"](MENUS, 1e308) == np.eye(4)[[3, 2]]).all()


def test_cost_plus_without_costs_is_refused_with_their_number():
    costless = Menus(MENUS.price, MENUS.propensity, MENUS.expected, np.array([2.0, NAN]))
    with pytest.raises(Unanswerable, match="1 of 2 decisions have no unit cost"):
        TARGETS["cost-plus"](costless, 2.0)


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_a_probability_on_the_ladder_and_stands_on_the_page(name):
    target = TARGETS[name](MENUS, 1.5)
    assert target.shape == MENUS.price.shape
    assert target.sum(1) == pytest.approx([1, 1])
    assert (target[~MENUS.there] == 0).all()
    assert f"| `{name}` |" in PAGE
