"""Intervals of sums of ratios, the form that every estimator here has.

Written as Σ_j (Σ_i num_ij) / (Σ_i den_ij), an estimate needs no variance formula of its own: the
delta method and the bootstrap follow from the terms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

RESAMPLES = 2_000
_PART = 50


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its standard error and its interval."""

    value: float
    se: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """One ratio of sums over rows.

    Attributes:
        num, den: summands of numerator and denominator, float64 (n,).
    """

    num: NDArray[np.float64]
    den: NDArray[np.float64]

    def value(self) -> float:
        """The ratio."""
        return float(self.num.sum() / self.den.sum())


def total(ratios: Sequence[Ratio]) -> float:
    """The estimate: the sum of the ratios."""
    return sum(ratio.value() for ratio in ratios)


def influence(ratios: Sequence[Ratio]) -> NDArray[np.float64]:
    """What each row moves the estimate by, times n, float64 (n,); sums to 0.

    Formula: φ_i = n Σ_j (num_ij − R_j den_ij) / Σ_i den_ij, the delta method's linear term (for
    one ratio with den = w this is the variance of SNIPS in Owen 2013, "Monte Carlo theory, methods
    and examples", eq. 9.9; for den = 1 it is the deviation from the mean).
    """
    parts = [(r.num - r.value() * r.den) / r.den.sum() for r in ratios]
    return np.asarray(len(parts[0]) * np.sum(parts, 0))


def standard_error(ratios: Sequence[Ratio], groups: NDArray[np.int64]) -> float:
    """Standard error of the estimate with rows of one group summed up first.

    Formula: SE² = G / (G − 1) Σ_g (Σ_{i in g} φ_i / n)²; for groups of one row and one mean it is
    the sample standard deviation over √n. NaN for a single group.

    Args:
        groups: int64 (n,), from 0 without gaps.
    """
    phi = influence(ratios)
    sums = np.bincount(groups, phi) / len(phi)
    count = len(sums)
    return float(np.sqrt(count / (count - 1) * (sums**2).sum())) if count > 1 else float("nan")


def student(
    ratios: Sequence[Ratio], groups: NDArray[np.int64], level: float, freedom: float
) -> Interval:
    """Interval from the delta method and Student's t.

    Args:
        level: coverage wished, in (0, 1).
        freedom: degrees of freedom, at least 1: of effective, not of logged rows.
    """
    value, se = total(ratios), standard_error(ratios, groups)
    reach = float(stats.t.ppf(0.5 + level / 2, max(freedom, 1.0))) * se
    return Interval(value, se, value - reach, value + reach)


def two_way(
    ratios: Sequence[Ratio],
    groups: NDArray[np.int64],
    others: NDArray[np.int64],
    level: float,
) -> Interval:
    """Interval for rows that err together with those of their group and of their other group.

    Formula: SE² = SE²(groups) + SE²(others) − SE²(both), Cameron, Gelbach & Miller 2011, "Robust
    inference with multiway clustering", eq. 2.9 to 2.11, but never below either alone, as chance
    can make it; Student's t with one degree of freedom less than there are groups of the fewer
    kind (Cameron & Miller 2015, "A practitioner's guide to cluster-robust inference", section V).
    NaN but for the value where either kind has a single group.

    Args:
        groups, others: int64 (n,), each from 0 without gaps.
        level: coverage wished, in (0, 1).
    """
    counts = groups.max() + 1, others.max() + 1
    both = np.unique(groups * counts[1] + others, return_inverse=True)[1]
    one, other, cells = (standard_error(ratios, of) ** 2 for of in (groups, others, both))
    value, se = total(ratios), float(np.sqrt(np.max([one, other, one + other - cells])))
    reach = float(stats.t.ppf(0.5 + level / 2, min(counts) - 1)) * se
    return Interval(value, se, value - reach, value + reach)


def bca(ratios: Sequence[Ratio], groups: NDArray[np.int64], level: float, seed: int) -> Interval:
    """Bias-corrected and accelerated bootstrap over groups: for few, skewed rewards.

    Formula: Efron 1987, "Better bootstrap confidence intervals", eq. 2.3 and 4.3 (acceleration
    from the influence values). NaN but for the value for a single group.

    Args:
        level: coverage wished, in (0, 1). seed: of the resamples.
    """
    value, se = total(ratios), standard_error(ratios, groups)
    sums = [(np.bincount(groups, r.num), np.bincount(groups, r.den)) for r in ratios]
    count = len(sums[0][0])
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(RESAMPLES // _PART):
        times = rng.multinomial(count, np.full(count, 1.0 / count), _PART)  # (part, G)
        with np.errstate(invalid="ignore", divide="ignore"):
            draws.append(sum((times @ num) / (times @ den) for num, den in sums))
    resampled = np.concatenate(draws)
    resampled = resampled[np.isfinite(resampled)]
    phi = np.bincount(groups, influence(ratios))
    spread = (phi**2).sum()
    if count == 1:
        return Interval(value, se, float("nan"), float("nan"))
    if spread == 0 or len(resampled) == 0:
        return Interval(value, se, value, value)
    acceleration = (phi**3).sum() / (6 * spread**1.5)
    below = (resampled < value).mean() + (resampled == value).mean() / 2
    bias = stats.norm.ppf(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    z = bias + stats.norm.ppf([(1 - level) / 2, (1 + level) / 2])
    ends = stats.norm.cdf(bias + z / (1 - acceleration * z))
    low, high = np.quantile(resampled, ends)
    return Interval(value, se, float(low), float(high))
