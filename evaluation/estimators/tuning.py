"""Choosing an estimator's tuning parameter from the log itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from evaluation.intervals import Ratio, standard_error, total

Rule = Literal["error", "slope"]

SURE = 0.9
"""Confidence of the one-sided widths that `slope` compares."""

LENIENCE = 6**0.5 - 1
"""Weight of the less precise estimate's width in `slope` (Tucker & Lee 2021)."""


def chosen(
    candidates: Sequence[Sequence[Ratio]],
    unbiased: Sequence[Ratio],
    groups: NDArray[np.int64],
    rule: Rule,
) -> int:
    """Number of the candidate to use.

    `error`: the least estimated mean squared error, SE² + b², with b the difference from the
    unbiased estimate on the same rows (the criterion of Wang, Agarwal & Dudík 2017, section 3, and
    of Su, Dimakopoulou, Krishnamurthy & Dudík 2020, section 5, with the bias estimated directly).
    b² overstates the squared bias by its own variance, so the rule leans to the unbiased estimate.

    `slope`: with estimates θ and widths c in falling order of width, the last i such that for all
    j before each i' ≤ i: |θ_i' − θ_j| ≤ c_i' + (√6 − 1) c_j (Su, Srinath & Krishnamurthy 2020,
    "Adaptive estimator selection for off-policy evaluation", algorithm 1, with the constant of
    Tucker & Lee 2021, "Improved estimator selection for off-policy evaluation"). Gives more bias
    for less variance.

    Args:
        candidates: each the ratios of one estimate. unbiased: those without shrinkage.
        groups: int64 (n,), from 0 without gaps.
    """
    if len(candidates) == 1:
        return 0
    if rule == "slope":
        return _by_slope(candidates, groups)
    nothing = [Ratio(-ratio.num, ratio.den) for ratio in unbiased]
    errors = []
    for ratios in candidates:
        difference = [*ratios, *nothing]
        errors.append(standard_error(ratios, groups) ** 2 + total(difference) ** 2)
    return int(np.argmin(errors))


def _by_slope(candidates: Sequence[Sequence[Ratio]], groups: NDArray[np.int64]) -> int:
    value = np.array([total(ratios) for ratios in candidates])
    quantile = float(stats.t.ppf(SURE, max(int(groups.max()), 1)))
    width = quantile * np.array([standard_error(ratios, groups) for ratios in candidates])
    order = np.argsort(-width, kind="stable")
    value, width = value[order], width[order]
    apart = np.abs(value[:, None] - value)  # (later, earlier)
    fits = (apart <= width[:, None] + LENIENCE * width) | ~np.tri(len(order), k=-1, dtype=bool)
    steps = np.logical_and.accumulate(fits.all(1))
    return int(order[steps.sum() - 1])


def reach(weight: NDArray[np.float64]) -> tuple[float, float]:
    """The 0.05 and the 0.95 quantile of weights (n,), those left out that are lost in rounding
    beside the largest: their squares may be too small for any number.
    """
    told = weight[weight > np.finfo(np.float64).eps * weight.max()]
    low, high = np.quantile(told, [0.05, 0.95])
    return float(low), float(high)


def spaced(low: float, high: float, count: int) -> tuple[float, ...]:
    """`count` numbers from `low` to `high` in equal ratios."""
    return tuple(float(x) for x in np.geomspace(low, high, count))
