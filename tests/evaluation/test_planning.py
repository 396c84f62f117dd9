import numpy as np
import pytest
from scipy.stats import norm

from evaluation.planning import plan
from evaluation.sequential import log_evidence


def units(rng, count, sigma=1.0):
    level = np.exp(rng.normal(size=count) * sigma)
    impressions = rng.poisson(30, count) + 1.0
    return level * np.exp(rng.normal(size=count) * 0.3) * impressions, impressions, level


def test_units_of_a_plan_by_hand():
    """Two values, one impression each: s² = 1/2, n = (z + z)² · s² · 4 / δ²."""
    answer = plan(np.array([0.0, 1.0] * 500), np.ones(1000), 0.1)
    square = 1000 * 0.25 / 999
    expected = (norm.ppf(0.975) + norm.ppf(0.8)) ** 2 * square * 4 / 0.01
    assert answer.units == int(np.ceil(expected))
    assert answer.ratio == 0.5
    assert answer.variance_saved == 0.0
    assert 1.5 < answer.units_sequential / answer.units < 2.5


def test_half_the_effect_needs_four_times_the_units_and_a_covariate_saves_some():
    profit, impressions, level = units(np.random.default_rng(0), 4000)
    whole, half = plan(profit, impressions, 0.2), plan(profit, impressions, -0.1)
    assert half.units == pytest.approx(4 * whole.units, abs=4)
    helped = plan(profit, impressions, 0.2, covariate=level)
    assert helped.variance_saved > 0.6
    assert helped.units == pytest.approx((1 - helped.variance_saved) * whole.units, abs=2)
    uneven = plan(profit, impressions, 0.2, share=0.2)
    assert uneven.units > whole.units
    assert uneven.units_sequential / uneven.units > whole.units_sequential / whole.units


@pytest.mark.statistical
def test_the_sequence_has_the_planned_power():
    """200 tests, at least 72 % found: false-alarm rate 0.4 % if the power is exactly 80 %."""
    rng = np.random.default_rng(5)
    profit, impressions, _ = units(rng, 20_000, sigma=0.5)
    effect = 0.1 * profit.sum() / impressions.sum()
    answer = plan(profit, impressions, effect)
    pick = rng.integers(0, len(profit), (200, answer.units_sequential))
    treated = rng.random(pick.shape) < 0.5
    shown = impressions[pick]
    evidence = log_evidence(
        profit[pick] + effect * shown * treated, shown, treated,
        tightest_at=answer.units_sequential,
    )  # fmt: skip
    assert (evidence.max(1) >= np.log(20)).mean() >= 0.72


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"effect": 0.0}, "effect is 0.0: give"),
        ({"power": 1.0}, "power is 1.0: give"),
        ({"alpha": 0.0}, "alpha is 0.0: give"),
        ({"share": 1.0}, "share is 1.0: give"),
        ({"profit": np.array([1.0, np.nan])}, r"profit\[1\] is nan"),
        ({"profit": np.array([1.0])}, "give one value for 2 or more units"),
        ({"impressions": np.array([1.0, -1.0])}, "impressions sum to 0"),
        ({"impressions": np.array([1.0])}, r"impressions has shape \(1,\)"),
        ({"covariate": np.array([1.0, np.inf])}, r"covariate\[1\] is inf"),
        ({"profit": np.array([1.0, 1.0])}, "nothing to plan"),
        ({"effect": 1e-300}, "effect is 1e-300, where units differ by 0.707: no number of them"),
    ],
)
def test_bad_arguments_name_field_value_and_fix(change, message):
    good = {"profit": np.array([1.0, 2.0]), "impressions": np.ones(2), "effect": 0.1}
    with pytest.raises(ValueError, match=message):
        plan(**{**good, **change})
