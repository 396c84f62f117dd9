from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits import GUARDRAILS, limits
from bandits.limits import DEAREST, UNLIMITED, reference_range

NAMES = ("unit_cost", "min_price", "max_price", "minimum_advertised_price", "current_price")
HIGHEST = 400  # minor units: what the enumeration looks at


def column(name):
    return GUARDRAILS.index(name)


@st.composite
def rules(draw):
    """Minor units per major and one seller's rules as decimals, None where not set."""
    per_major = draw(st.sampled_from([1, 100, 1000]))
    money = st.none() | st.integers(1, HIGHEST).map(lambda m: Decimal(m) / per_major)
    found = {name: draw(money) for name in NAMES}
    far = st.integers(1, 10**6).map(lambda m: Decimal(m) / per_major)
    found["reference_price"] = draw(st.none() | far)
    found["max_step"] = draw(st.none() | st.integers(0, 150).map(lambda p: Decimal(p) / 100))
    ending = st.integers(0, per_major - 1).map(lambda m: Decimal(m) / per_major)
    found["price_ending"] = draw(st.none() | ending)
    return per_major, found


def as_limits(per_major, found):
    """The library's limits of one row, from floats as a request would carry them."""
    floats = {k: np.array([np.nan if v is None else float(v)]) for k, v in found.items()}
    sensible = reference_range(floats.pop("reference_price"), floats["unit_cost"])
    return limits(np.array([per_major]), **floats, sensible=sensible)


def permitted(per_major, found, minor):
    """Whether a seller's rules allow a price, in exact decimal arithmetic."""
    price = Decimal(minor) / per_major
    lower = ("unit_cost", "min_price", "minimum_advertised_price")
    if any(found[name] is not None and price < found[name] for name in lower):
        return False
    if found["max_price"] is not None and price > found["max_price"]:
        return False
    if (
        None not in (found["current_price"], found["max_step"])
        and abs(price - found["current_price"]) > found["max_step"] * found["current_price"]
    ):
        return False
    return found["price_ending"] is None or price % 1 == found["price_ending"]


@settings(deadline=None, max_examples=300)
@given(rules())
def test_the_interval_is_what_exact_enumeration_finds(case):
    per_major, found = case
    bounds = as_limits(per_major, found)
    # every bound of a seller's is at most 2.5 HIGHEST and endings are at most 1000 apart
    reach = 1000 + HIGHEST * 3
    prices = [m for m in range(1, reach) if permitted(per_major, found, m)]
    assert bounds.feasible[0] == bool(prices)
    if not prices:
        return
    bounded = found["max_price"] is not None
    bounded |= None not in (found["current_price"], found["max_step"])
    step = int(bounds.step[0])
    top = prices[-1] if bounded else 10**17  # nobody's own limit
    reference, cost = found["reference_price"], found["unit_cost"]
    by_cost = cost and (10**6 if reference is None else 1000) * cost
    known = [price for price in (reference and 1000 * reference, by_cost) if price is not None]
    most = min(max(known) * per_major if known else 10**17, 10**12 * per_major)
    least = reference * per_major / 1000 if reference is not None else 0
    lowest = next((m for m in prices if m >= least), None)
    if lowest is None:  # above all that was looked at, or above all that is allowed
        lowest = prices[-1] if bounded else prices[-1] + -((prices[-1] - least) // step) * step
    highest = prices[0] + (min(top, max(most, prices[0])) - prices[0]) // step * step
    assert (bounds.lower[0], bounds.upper[0]) == (lowest, highest)


@pytest.mark.parametrize("per_major", [1, 100, 1000])
def test_decimal_prices_survive_binary_floats(per_major):
    # 19.99 * 100 is 1998.9999999999998; all prices up to 1e12 currency units, densely where low
    rng = np.random.default_rng(0)
    minor = np.concatenate(
        [np.arange(1, 200_000), *(rng.integers(1, 10**e, 20_000) for e in (8, 10, 12))]
    )
    minor = np.concatenate([minor, rng.integers(1, 10**12 * per_major, 20_000)])
    price = minor / per_major
    nan = np.full(len(minor), np.nan)
    bounds = limits(
        np.full(len(minor), per_major),
        unit_cost=price,
        min_price=price,
        max_price=price,
        minimum_advertised_price=nan,
        current_price=price,
        max_step=np.zeros(len(minor)),
        price_ending=nan,
    )
    assert bounds.feasible.all()
    np.testing.assert_array_equal(bounds.lower, minor)
    np.testing.assert_array_equal(bounds.upper, minor)


@pytest.mark.parametrize(
    ("per_major", "cost", "most", "lower", "upper"),
    [
        (100, 19.99, 29.95, 1999, 2995),
        (100, 19.991, 29.949, 2000, 2994),  # half minor units go inwards
        (1, 1980.0, 2980.0, 1980, 2980),
        (1, 1980.2, 2980.9, 1981, 2980),
        (1000, 1.005, 2.675, 1005, 2675),
        (100, 0.07, 0.29, 7, 29),
    ],
)
def test_known_traps(make, per_major, cost, most, lower, upper):
    bounds = make.limits(1, per_major, unit_cost=cost, max_price=most)
    assert (bounds.lower[0], bounds.upper[0]) == (lower, upper)
    assert bounds.lower.dtype == bounds.upper.dtype == np.int64


def test_a_step_counts_from_the_current_price(make):
    bounds = make.limits(1, 100, current_price=10.0, max_step=0.1)
    assert (bounds.lower[0], bounds.upper[0]) == (900, 1100)
    assert bounds.floors[0, column("max_step")] == 900
    assert bounds.ceilings[0, column("max_step")] == 1100
    free = make.limits(1, 100, max_step=0.1)  # no current price: no step to take
    assert (free.lower[0], free.upper[0]) == (1, 100 * DEAREST)


def test_without_rules_only_a_gift_is_excluded(make):
    bounds = make.limits(2, [1, 100])
    assert bounds.lower.tolist() == [1, 1]
    assert bounds.upper.tolist() == [DEAREST, 100 * DEAREST]
    assert (bounds.floors == 0).all()
    others = np.delete(bounds.ceilings, column("reference_range"), axis=1)
    assert (others == UNLIMITED).all()
    assert make.limits(1, 100, unit_cost=0.0).lower[0] == 1


@pytest.mark.parametrize(
    ("rules", "lower", "upper"),
    [
        ({"reference_price": 8.0}, 1, 800_000),
        ({"reference_price": 8000.0}, 800, 800_000_000),
        ({"unit_cost": 3.0}, 300, 300_000_000),
        ({"unit_cost": 0.0}, 1, 100 * DEAREST),
        ({"unit_cost": 300.0, "reference_price": 8.0}, 30_000, 30_000_000),
        ({"unit_cost": 3.0, "reference_price": 8000.0}, 800, 800_000_000),
        # what the seller says holds, however far off
        ({"reference_price": 8.0, "min_price": 9000.0}, 900_000, 900_000),
        ({"reference_price": 8000.0, "max_price": 7.0}, 700, 700),
        ({"reference_price": 8.0, "current_price": 9000.0, "max_step": 0.1}, 810_000, 810_000),
        ({"reference_price": 8.0, "min_price": 9000.0, "price_ending": 0.99}, 900_099, 900_099),
    ],
)  # fmt: skip
def test_prices_stay_within_a_thousandfold_of_what_is_known(make, rules, lower, upper):
    bounds = make.limits(1, 100, **rules)
    assert (bounds.lower[0], bounds.upper[0]) == (lower, upper)


@pytest.mark.parametrize(
    "contradiction",
    [
        {"unit_cost": 12.0, "max_price": 11.99},
        {"min_price": 5.0, "max_price": 4.0},
        {"minimum_advertised_price": 20.0, "current_price": 10.0, "max_step": 0.5},
        {"min_price": 10.1, "max_price": 10.9, "price_ending": 0.95},
        {"unit_cost": 10.001, "max_price": 10.009},
    ],
)
def test_contradictions_are_recognised_row_by_row(make, contradiction):
    rows = {k: np.array([np.nan, v, np.nan]) for k, v in contradiction.items()}
    assert make.limits(3, 100, **rows).feasible.tolist() == [True, False, True]


@pytest.mark.parametrize("far", [1e17, 1e300, np.inf])
@pytest.mark.parametrize("per_major", [100, 1000])
def test_bounds_beyond_all_integers_are_the_last_of_them(make, far, per_major):
    cost = make.limits(1, per_major, unit_cost=far)
    assert cost.lower[0] > DEAREST * per_major  # no price far below the cost is allowed
    ceiling, free = make.limits(1, per_major, max_price=far), make.limits(1, per_major)
    assert ceiling.upper[0] == free.upper[0] == DEAREST * per_major


@settings(deadline=None)
@given(rules(), st.lists(st.floats(1e-3, 1e7), min_size=1, max_size=6))
def test_rounding_goes_to_the_nearest_allowed_price(case, prices):
    bounds = as_limits(*case)
    if not bounds.feasible[0]:
        return
    rounded = bounds.round(np.array([prices]))[0]
    assert rounded.dtype == np.int64
    lower, upper, step = int(bounds.lower[0]), int(bounds.upper[0]), int(bounds.step[0])
    for price, found in zip(prices, rounded.tolist(), strict=True):
        assert lower <= found <= upper
        assert (found - lower) % step == 0
        for other in (found - step, found + step):
            if lower <= other <= upper:
                assert abs(found - price) <= abs(other - price) + 1e-6
