"""A/B tests of pricing policies: from a table of units to a verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from evaluation import sample_ratio
from evaluation.planning import covariate_part
from evaluation.sequential import TIGHTEST_AT, interval, log_evidence
from evaluation.units_table import TwoArms

MISMATCH_ALPHA = 0.001
"""Rate of false alarms of the sample-ratio test."""


@dataclass(frozen=True, slots=True)
class Once:
    """Fixed-horizon answer: right for one look at a moment fixed beforehand, and for no other.

    Args:
        difference: profit per impression, treatment − control, currency units.
        low, high: ends of the interval. p_value: two-sided.
    """

    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """What an A/B test says so far; it may be asked after every unit.

    Args:
        control, treatment: names of the arms.
        units: arm -> units and periods counted.
        profit_per_impression: arm -> total profit over total impressions, currency units.
        difference: profit per impression that the treatment adds, currency units; adjusted for time
            and covariate and without the warm-up, so not exactly the difference of the two figures
            above. nan while nothing can be said.
        low, high: confidence sequence of the difference now, ±inf while nothing is excluded.
        decided_at: units and periods of both arms after which zero was first excluded, or None.
        decided_difference: the difference as estimated after those, or None.
        p_value: anytime-valid, of "no effect": 1 / largest evidence so far.
        alpha: accepted rate of false alarms over all looks together.
        once: the fixed-horizon answer, for comparison.
        variance_saved: share of the variance of the difference that the covariate takes out.
        mismatch_p_value: anytime-valid, of "units arrived in the shares drawn".
    """

    control: str
    treatment: str
    units: dict[str, int]
    profit_per_impression: dict[str, float]
    difference: float
    low: float
    high: float
    decided_at: int | None
    decided_difference: float | None
    p_value: float
    alpha: float
    once: Once
    variance_saved: float
    mismatch_p_value: float

    @property
    def verdict(self) -> str:
        """The finding in one or two plain sentences."""
        if self.mismatch_p_value < MISMATCH_ALPHA:
            return (
                "Do not use this result: the arms do not have the shares that were drawn "
                f"(p = {self.mismatch_p_value:.2g}). Find out which units are missing or doubled."
            )
        if not math.isfinite(self.high - self.low):
            return "Too early to say anything: let the test run on."
        confidence = f"{100 * (1 - self.alpha):.10g}% confidence"
        sure = f"{self.low:.4g} to {self.high:.4g} per impression at {confidence}"
        if self.decided_at is None or self.decided_difference is None:
            return (
                f"No difference shown yet between {self.treatment} and {self.control}: "
                f"{sure}. Stop if that is close enough to zero, or let the test run on."
            )
        more = self.decided_difference > 0
        sign = "more" if more else "less"
        now = ""
        if self.low <= 0 <= self.high:
            now = " Zero has come back into it since."
        elif (self.low > 0) != more:
            now = " The difference has turned since."
        return (
            f"{self.treatment} earns {sign} per impression than {self.control}, decided after "
            f"{self.decided_at} units and periods: {sure}.{now}"
        )


def compare(
    table: pl.DataFrame,
    control: str,
    treatment: str,
    shares: Mapping[str, float],
    *,
    covariate: str | None = None,
    alpha: float = 0.05,
    tightest_at: int = TIGHTEST_AT,
) -> Comparison:
    """Profit per impression of two arms, anytime-valid (method and references in `sequential`).

    Args:
        table: one row per unit (as it was assigned: listing or family) and period that is over,
            `units_table.COLUMNS`: `unit`, `period`, `arm`, `profit` (currency units),
            `impressions`. Periods are numbers or dates, as text ISO days, weeks or months, or one
            constant. Rows in any order; those of one period are ordered by unit. A unit recurs only
            where the coin was thrown again: sum what one throw decided. A column `currency`, if
            there is one, has one value.
        control, treatment: the two arms; rows of others count for the sample ratio only.
        shares: as given to `assign`.
        covariate: column with the unit's profit per impression before the experiment, or None.
        alpha: accepted rate of false alarms over all looks.
        tightest_at: units at which the interval shall be narrowest, `Plan.units_sequential`.

    Raises:
        ValueError: bad shares or arms, a missing column, a value that is no number, negative
            impressions, an unknown arm, several currencies, periods as text of another form, a
            unit twice in one period, an arm without units or impressions, units that recur and
            hardly change sides.
    """
    if tightest_at < 1:
        raise ValueError(f"tightest_at is {tightest_at}: give a number of units from 1 upwards")
    arms = TwoArms.of(table, control, treatment, shares, covariate)

    def until(count: int) -> tuple[float, float, float]:
        seen = arms.first(count)
        return interval(
            seen.profit, seen.impressions, seen.treated, seen.share,
            covariate=seen.covariate, alpha=alpha, tightest_at=tightest_at,
        )  # fmt: skip

    evidence = log_evidence(
        arms.profit, arms.impressions, arms.treated, arms.share,
        covariate=arms.covariate, alpha=alpha, tightest_at=tightest_at,
    )  # fmt: skip
    difference, low, high = until(len(evidence))
    crossed = evidence >= math.log(1 / alpha)
    decided_at = int(crossed.argmax()) + 1 if crossed.any() else None
    sums = (arms.profit, arms.impressions, arms.treated)
    single = once(*sums, covariate=arms.covariate, alpha=alpha)
    sides = {control: ~arms.treated, treatment: arms.treated}
    return Comparison(
        control=control,
        treatment=treatment,
        units={arm: int(side.sum()) for arm, side in sides.items()},
        profit_per_impression={
            arm: float(arms.profit[side].sum() / arms.impressions[side].sum())
            for arm, side in sides.items()
        },
        difference=difference,
        low=low,
        high=high,
        decided_at=decided_at,
        decided_difference=None if decided_at is None else until(decided_at)[0],
        p_value=float(np.exp(-max(float(evidence.max()), 0.0))),
        alpha=alpha,
        once=single,
        variance_saved=_saved(single, once(*sums, alpha=alpha)),
        mismatch_p_value=_mismatch(arms.arms, shares),
    )


def once(
    profit: NDArray[np.float64],
    impressions: NDArray[np.float64],
    treated: NDArray[np.bool_],
    *,
    covariate: NDArray[np.float64] | None = None,
    alpha: float = 0.05,
) -> Once:
    """Difference of profit per impression by the delta method, for one look only.

    Formula: R = ΣY / ΣI in each arm, Var R = Σ (Y − R I)² / (n (n − 1) Ī²) (Deng, Knoblich & Lu
    2018, "Applying the delta method in metric analytics"), Y less the covariate's part.

    Args:
        profit, impressions, treated, covariate: of each unit, (n,), checked by the caller.
    """
    if covariate is not None:
        profit = profit - covariate_part(profit, impressions, covariate)
    ratios, variance = [], 0.0
    for side in (treated, ~treated):
        y, shown = profit[side], impressions[side]
        ratios.append(y.sum() / shown.sum())
        rest = y - ratios[-1] * shown
        n = len(y)
        variance += float(rest @ rest) * n / (n - 1) / shown.sum() ** 2 if n > 1 else math.inf
    difference, error = float(ratios[0] - ratios[1]), math.sqrt(variance)
    margin = float(norm.ppf(1 - alpha / 2)) * error
    p_value = 2 * float(norm.sf(abs(difference) / error)) if error > 0 else float(difference == 0)
    return Once(difference, difference - margin, difference + margin, p_value)


def _saved(adjusted: Once, plain: Once) -> float:
    widths = (adjusted.high - adjusted.low, plain.high - plain.low)
    return 1 - (widths[0] / widths[1]) ** 2 if 0 < widths[1] < math.inf else 0.0


def _mismatch(arms: pl.Series, shares: Mapping[str, float]) -> float:
    """Smallest p-value of the sample-ratio test over all looks; arms in the order of time."""
    names = list(shares)
    counts = np.stack([(arms == name).to_numpy().cumsum() for name in names], -1)  # (n, arms)
    evidence = sample_ratio.log_evidence(counts, np.array([shares[name] for name in names]))
    return float(np.exp(-max(float(evidence.max()), 0.0)))
