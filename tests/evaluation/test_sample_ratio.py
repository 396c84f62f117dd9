import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from evaluation.sample_ratio import (
    CONCENTRATION,
    anytime_p_value,
    chi_square,
    log_evidence,
    recurring_log_evidence,
)

HALVES = {"a": 0.5, "b": 0.5}


def test_chi_square_is_scipys():
    expected = chisquare([40, 70, 90], [50, 50, 100]).pvalue
    shares = {"a": 0.25, "b": 0.25, "c": 0.5}
    assert chi_square({"a": 40, "b": 70, "c": 90}, shares) == pytest.approx(expected)


def test_evidence_of_two_units_by_hand():
    """Pólya's urn: the second unit joins the first with probability (c/2 + 1) / (c + 1)."""
    same = math.log(0.5 * (CONCENTRATION / 2 + 1) / (CONCENTRATION + 1) / 0.25)
    assert log_evidence(np.array([2, 0]), np.array([0.5, 0.5])) == pytest.approx(same)
    assert log_evidence(np.array([1, 0]), np.array([0.5, 0.5])) == pytest.approx(0.0)


@given(st.lists(st.integers(0, 5000), min_size=3, max_size=3), st.floats(0.05, 0.6))
def test_evidence_is_a_martingale(counts, share):
    """Weighted by the drawn shares, the next unit leaves the expected evidence unchanged."""
    shares = np.array([share, 0.3, 0.7 - share]) if share < 0.7 else np.ones(3) / 3
    now = np.array(counts)
    after = log_evidence(now + np.eye(3, dtype=np.int64), shares)
    expected = np.log(shares @ np.exp(after - log_evidence(now, shares)))
    assert expected == pytest.approx(0.0, abs=1e-8)


def test_a_lasting_mismatch_is_found_and_a_good_ratio_is_not():
    assert anytime_p_value({"a": 5300, "b": 4700}, HALVES) < 1e-6
    assert anytime_p_value({"a": 5030, "b": 4970}, HALVES) == 1.0
    assert anytime_p_value({"a": 300}, HALVES) < 1e-12


@pytest.mark.statistical
def test_false_alarms_when_looked_at_after_every_unit():
    """At most 5 % by Ville's inequality; 1,000 runs, above 7 % with probability below 0.3 %."""
    treated = np.random.default_rng(3).random((1000, 1000)) < 0.5
    counts = np.stack([treated.cumsum(1), (~treated).cumsum(1)], -1)
    evidence = log_evidence(counts, np.array([0.5, 0.5]))
    assert (evidence.max(1) >= math.log(20)).mean() <= 0.07


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 1, "x": 2}, r"counts names arm 'x': give one of \['a', 'b'\]"),
        ({"a": -1, "b": 2}, r"counts\['a'\] is -1: give 0 or more"),
        ({}, "counts is all zero"),
    ],
)
def test_bad_counts_are_refused(counts, message):
    for test in (chi_square, anytime_p_value):
        with pytest.raises(ValueError, match=message):
            test(counts, HALVES)


@given(st.floats(0.01, 0.99))
def test_evidence_of_staying_is_a_martingale_and_grows_where_units_stay(share):
    """The next draw is the unit's own arm with its share, else one of the others."""
    arm = np.array([share])
    stay, change = (math.exp(recurring_log_evidence(np.array([s]), arm)) for s in (True, False))
    assert share * stay + (1 - share) * change == pytest.approx(1)
    always = np.ones(18, bool)
    assert recurring_log_evidence(always[:17], np.full(17, 0.5)) < math.log(1000)
    assert recurring_log_evidence(always, np.full(18, 0.5)) > math.log(1000)
