import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation import sequential
from evaluation.sequential import coin_variance, interval, leftover, log_evidence, tightness


def world(rng, shape, sigma=1.0, conversion=1.0, share=0.5):
    profit = np.exp(rng.normal(size=shape) * sigma) * (rng.random(shape) < conversion)
    return profit, np.ones(shape), rng.random(shape) < share


def test_coin_variance_bounds_every_moment_of_the_coin():
    """E exp(λ(W − p)) ≤ exp(λ² v / 2) for all λ: what makes the evidence a supermartingale."""
    strength = np.linspace(-40, 40, 4001)
    for share in (0.01, 0.1, 0.3, 0.499, 0.5, 0.8):
        heads, tails = strength * (1 - share), -strength * share
        log_mean = np.logaddexp(math.log(share) + heads, math.log(1 - share) + tails)
        assert (log_mean <= strength**2 * coin_variance(share) / 2 + 1e-12).all()
    assert coin_variance(0.5) == 0.25
    assert coin_variance(0.5 - 1e-5) == pytest.approx(0.25, abs=1e-6)


def test_leftover_by_hand():
    rest = leftover(np.array([3.0, 4.0, 10.0]), np.array([1.0, 2.0, 4.0]))
    assert rest.tolist() == [3.0, 4.0 - 2 * 3.0, 10.0 - 4 * 7 / 3]


def test_leftover_takes_out_what_the_covariate_explains():
    rng = np.random.default_rng(0)
    x, impressions = rng.normal(size=2000), rng.poisson(9, 2000) + 1.0
    noise = 0.1 * rng.normal(size=2000)
    rest = leftover((5 + 2 * x) * impressions + noise, impressions, x)
    assert np.abs(rest[500:]).mean() < 0.1 * np.abs(2 * x * impressions)[500:].mean()


@given(st.integers(0, 10**6), st.floats(-5, 5), st.booleans())
def test_leftover_is_linear_and_looks_only_back(seed, factor, adjusted):
    rng = np.random.default_rng(seed)
    y, z = rng.normal(size=(2, 3, 40))
    impressions = rng.poisson(3, (3, 40)) * 1.0
    x = rng.normal(size=(3, 40)) if adjusted else None
    both = leftover(y + factor * z, impressions, x)
    parts = leftover(y, impressions, x) + factor * leftover(z, impressions, x)
    assert np.allclose(both, parts, atol=1e-8)
    part = leftover(y[:, :15], impressions[:, :15], None if x is None else x[:, :15])
    assert np.allclose(leftover(y, impressions, x)[:, :15], part, atol=1e-10)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_evidence_is_a_supermartingale_over_all_throws(share, monkeypatch):
    """Twelve fixed units, all 4,096 outcomes of the coin: the mean of M is at most 1, exactly."""
    monkeypatch.setattr(sequential, "WARM_UP", 1)
    monkeypatch.setattr(sequential, "TUNED_BY", 2)
    profit = np.array([1.0, 0.0, 30.0, 2.0, -4.0, 0.5, 1e6, 3.0, 1.0, 7.0, 0.0, 2.0])
    treated = np.array(list(product([False, True], repeat=12)))  # (4096, 12)
    weight = np.where(treated, share, 1 - share).prod(1)
    shape = treated.shape
    impressions = np.broadcast_to(np.arange(1.0, 13.0), shape)
    evidence = log_evidence(
        np.broadcast_to(profit, shape), impressions, treated, share, tightest_at=20
    )
    means = weight @ np.exp(evidence)
    assert (means[:3] == 0).all()  # the first unit teaches, the second has no profit
    assert (means[3:] <= 1 + 1e-9).all()
    assert (np.diff(means[3:]) <= 1e-9).all()
    ever = weight @ (evidence.max(1) >= math.log(2))
    assert ever <= 0.5


def test_evidence_is_free_of_currency_and_of_what_the_covariate_is_measured_in():
    rng = np.random.default_rng(1)
    profit, shown, treated = world(rng, (2, 500))
    x = rng.normal(size=(2, 500))
    base = log_evidence(profit, shown, treated, covariate=x)
    assert np.allclose(base, log_evidence(100 * profit, shown, treated, covariate=3 + 7 * x))


def test_interval_ends_where_evidence_crosses():
    rng = np.random.default_rng(2)
    profit, shown, treated = world(rng, 800)
    shown = rng.poisson(5, 800) + 1.0
    x = rng.normal(size=800)
    for covariate in (None, x):
        estimate, low, high = interval(profit, shown, treated, covariate=covariate)
        assert low < estimate < high
        for end in (low, high):
            now = log_evidence(profit, shown, treated, effect=end, covariate=covariate)[-1]
            assert now == pytest.approx(math.log(20), abs=1e-6)


@settings(deadline=None)
@given(st.integers(0, 10**6), st.floats(-100, 100))
def test_interval_moves_with_an_added_effect(seed, effect):
    rng = np.random.default_rng(seed)
    profit, _, treated = world(rng, 400)
    shown = rng.poisson(5, 400) + 1.0
    before = np.array(interval(profit, shown, treated))
    after = np.array(interval(profit + effect * shown * treated, shown, treated))
    assert np.allclose(after - before, effect, atol=1e-6)


@pytest.mark.parametrize("units", [1, sequential.WARM_UP, sequential.WARM_UP + 300])
def test_nothing_is_said_before_enough_was_sold_after_the_warm_up(units):
    profit, shown, treated = world(np.random.default_rng(3), units, conversion=0.04)
    profit[: sequential.WARM_UP] = 1.0
    assert (profit != 0).sum() < sequential.WARM_UP + sequential.TUNED_BY
    assert np.isneginf(log_evidence(profit, shown, treated)).all()
    _, low, high = interval(profit, shown, treated)
    assert (low, high) == (-math.inf, math.inf)


def test_first_units_teach_and_are_not_judged():
    rng = np.random.default_rng(5)
    profit, shown, treated = world(rng, 600)
    other = treated.copy()
    other[: sequential.WARM_UP] = ~other[: sequential.WARM_UP]
    assert (log_evidence(profit, shown, treated) == log_evidence(profit, shown, other)).all()
    raised = profit + 1000.0 * shown  # what all units have in common is no noise
    a, b = (log_evidence(y, shown, treated)[-1] for y in (profit, raised))
    assert a == pytest.approx(b, abs=1e-6)


def test_profit_that_impressions_tell_exactly_leaves_no_doubt():
    _, shown, treated = world(np.random.default_rng(6), 200)
    assert interval(2 * shown, shown, treated) == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)
    few = slice(sequential.WARM_UP + sequential.TUNED_BY)
    assert interval(2 * shown[few], shown[few], treated[few])[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize("noise", [1.0, 0.01])
def test_an_adjusted_test_is_as_good_as_one_of_the_noise_alone(noise):
    """However much of the variance the covariate takes out, from none to 99.99 %."""
    rng = np.random.default_rng(7)
    x, rest = np.exp(rng.normal(size=1000)), np.exp(rng.normal(size=1000))
    _, shown, treated = world(rng, 1000)
    effect = 0.3 * treated
    found = log_evidence(x + noise * (rest + effect), shown, treated, covariate=x)
    assert found[-1] == pytest.approx(
        log_evidence(rest + effect, shown, treated, covariate=x)[-1], rel=1e-6
    )


def test_a_large_effect_is_found_soon():
    rng = np.random.default_rng(4)
    profit, shown, treated = world(rng, 2000)
    evidence = log_evidence(profit * (1 + treated), shown, treated)
    assert (evidence >= math.log(20)).argmax() < 1000
    _, low, high = interval(profit * (1 + treated), shown, treated)
    assert 0 < low < math.exp(0.5) < high


@pytest.mark.statistical
@pytest.mark.parametrize("sigma", [1.0, 2.0])
@pytest.mark.parametrize("conversion", [1.0, 0.04])
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_false_alarms_when_looked_at_after_every_unit(sigma, conversion, share):
    """At most 5 % by Ville's inequality; 500 runs, above 8 % with probability below 0.2 %."""
    rng = np.random.default_rng(6)
    profit, shown, treated = world(rng, (500, 1500), sigma, conversion, share)
    evidence = log_evidence(profit, shown, treated, share)
    assert (evidence.max(1) >= math.log(20)).mean() <= 0.08


@pytest.mark.parametrize("value", [0.0, 1.0, math.nan])
def test_bad_levels_and_shares_are_refused(value):
    with pytest.raises(ValueError, match=r"alpha is .*: give"):
        tightness(value)
    with pytest.raises(ValueError, match=r"share is .*: give"):
        coin_variance(value)
