import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from markets import FAMILIES
from markets.demand import Floats, highest, units_per_impression

RATIOS = np.linspace(0.0, 5.0, 501)


def curve(family: str, ratio: Floats, e: float = 2.0, k: float = 0.1, choke: float = 2.5) -> Floats:
    full = np.ones_like(ratio)
    number = np.full(ratio.shape, FAMILIES.index(family))
    return units_per_impression(number, ratio, -e * full, k * full, choke * full)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        # 0.1, by hand at r = 1.2 with e = 2, k = 0.1
        ("logit", 1 / (1 + 9 * np.exp(2 / 0.9 * 0.2))),
        ("exponential", 0.1 * np.exp(-0.4)),
        ("linear", 0.1 * 0.6),
        ("constant", 0.1 / 1.44),
    ],
)
def test_the_formulas(family: str, expected: float) -> None:
    found = curve(family, np.array([1.2, 1.0]))
    np.testing.assert_allclose(found, [expected, 0.1], rtol=1e-12)


@pytest.mark.parametrize("family", FAMILIES)
@given(e=st.floats(0.2, 90), k=st.floats(1e-4, 0.9))
def test_a_curve_falls_has_its_elasticity_at_v_and_is_a_share(
    family: str, e: float, k: float
) -> None:
    demand = curve(family, RATIOS, e, k)
    assert ((demand >= 0) & (demand <= 1)).all()
    assert (np.diff(demand) <= 0).all()
    down, at, up = curve(family, np.array([1 - 1e-6, 1.0, 1 + 1e-6]), e, k)
    assert at == pytest.approx(k, rel=1e-12)
    assert (up - down) / at / 2e-6 == pytest.approx(-e, rel=1e-3)


def test_constant_buyers_buy_up_to_the_choke() -> None:
    beyond = np.nextafter(2.5, 3)
    assert curve("constant", np.array([2.5]))[0] == pytest.approx(0.1 * 2.5**-2)
    assert curve("constant", np.array([beyond]))[0] == 0.0
    assert curve("constant", np.array([0.0]))[0] == 1.0


def test_families_side_by_side_are_each_by_itself() -> None:
    number = np.arange(4)
    full = np.ones(4)
    mixed = units_per_impression(number, 1.3 * full, -2 * full, 0.1 * full, 2.5 * full)
    alone = [curve(family, np.array([1.3]))[0] for family in FAMILIES]
    np.testing.assert_array_equal(mixed, alone)


def test_nobody_has_no_demand() -> None:
    none = np.zeros(0)
    assert units_per_impression(np.zeros(0, np.int64), none, none, none, none).shape == (0,)


@given(
    low=st.floats(0, 10), reach=st.floats(0.01, 100), share=st.floats(0, 1), steep=st.floats(0.1, 9)
)
def test_the_highest_point_of_one_peak(
    low: float, reach: float, share: float, steep: float
) -> None:
    peak = low + share * reach
    found = highest(lambda x: -steep * np.abs(x - peak), np.array([low]), np.array([low + reach]))
    assert found[0] == pytest.approx(peak, abs=1e-6 * reach)


def test_the_highest_point_at_a_cliff_lies_before_it() -> None:
    cliff = 0.7371
    found = highest(lambda x: np.where(x <= cliff, x, 0.0), np.zeros(1), np.ones(1))[0]
    assert cliff - 1e-6 < found <= cliff
