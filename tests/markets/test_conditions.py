import math
from dataclasses import fields

import pytest

from markets import Conditions
from markets.conditions import _RANGES


@pytest.mark.parametrize(("name", "low", "high"), _RANGES)
def test_every_value_has_its_range(name: str, low: float, high: float) -> None:
    for value in (low, high):
        assert getattr(Conditions(**{name: value}), name) == value
    for value in (low - 1, high + 1, math.nan):
        with pytest.raises(ValueError, match=f"{name} must lie in"):
            Conditions(**{name: value})


def test_every_number_is_checked() -> None:
    checked = {name for name, _, _ in _RANGES} | {"stock", "turn_day"}
    assert checked == {field.name for field in fields(Conditions)}


@pytest.mark.parametrize("stock", [(-1, 3), (3, 2), (1, 2, 3), (4,), (0, 10**12)])
def test_stock_is_fewest_and_most(stock: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="stock must be"):
        Conditions(stock=stock)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("days", 2.5), ("group", 1.5), ("turn_day", 0.5), ("stock", (1, 2.5))]
)
def test_counts_are_whole(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{name} must be whole"):
        Conditions(**{name: value})  # type: ignore[arg-type]


def test_a_turn_is_not_in_the_past() -> None:
    assert Conditions(turn_day=10_000).turn_day == 10_000
    with pytest.raises(ValueError, match="turn_day must be at least 0"):
        Conditions(turn_day=-1)


def test_what_is_assumed_is_told() -> None:
    assert Conditions().assumed() == "30 days"
    told = Conditions(days=7, stock=(1, 2), lost=0.5).assumed()
    assert told == "7 days, stock (1, 2), lost 0.5"
