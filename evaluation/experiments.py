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
from evaluation.assignment import check_shares
from evaluation.planning import covariate_part
from evaluation.sequential import TIGHTEST_AT, interval, log_evidence

COLUMNS = ("unit", "period", "arm", "profit", "impressions")
"""What `compare` needs to know of every listing or family in every period."""

MISMATCH_ALPHA = 0.001
"""Rate of false alarms of the sample-ratio test, and of the test that units change arms."""

_MONTH = "^[0-9]{4}-(0[1-9]|1[0-2])"
_ISO = (  # days, weeks and months, whose order as text is that of time
    f"{_MONTH}-(0[1-9]|[12][0-9]|3[01])$",
    "^[0-9]{4}-W(0[1-9]|[1-4][0-9]|5[0-3])$",
    f"{_MONTH}$",
)


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
            columns `COLUMNS`: `unit`, `period`, `arm`, `profit` (currency units), `impressions`.
            Periods are numbers or dates, as text ISO days, weeks or months, or one constant. Rows
            in any order; those of one period are ordered by unit. A unit recurs only where the coin
            was thrown again: sum what one throw decided. A column `currency`, if there is one, has
            one value.
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
    check_shares(shares)
    for field, arm in (("control", control), ("treatment", treatment)):
        if arm not in shares:
            raise ValueError(f"{field} is {arm!r}: give one of {sorted(shares)}")
    if control == treatment:
        raise ValueError(f"treatment is {treatment!r}, the control too: give two arms")
    if tightest_at < 1:
        raise ValueError(f"tightest_at is {tightest_at}: give a number of units from 1 upwards")
    _check(table, shares, covariate)
    table = table.sort("period", "unit")
    pair = table.filter(pl.col("arm").is_in([control, treatment]))
    treated = (pair["arm"] == treatment).to_numpy()
    profit, impressions = _numbers(pair, "profit"), _numbers(pair, "impressions")
    sides = {control: ~treated, treatment: treated}
    for arm, side in sides.items():
        if not impressions[side].sum() > 0:
            raise ValueError(
                f"column 'arm': {arm!r} has {side.sum()} units and no impressions: wait for some, "
                "or correct the name"
            )
    _check_throws(table, shares)
    before = None if covariate is None else _numbers(pair, covariate)
    share = shares[treatment] / (shares[control] + shares[treatment])
    evidence = log_evidence(
        profit, impressions, treated, share,
        covariate=before, alpha=alpha, tightest_at=tightest_at,
    )  # fmt: skip

    def until(end: int) -> tuple[float, float, float]:
        return interval(
            profit[:end], impressions[:end], treated[:end], share,
            covariate=None if before is None else before[:end],
            alpha=alpha, tightest_at=tightest_at,
        )  # fmt: skip

    difference, low, high = until(len(profit))
    crossed = evidence >= math.log(1 / alpha)
    decided_at = int(crossed.argmax()) + 1 if crossed.any() else None
    single = once(profit, impressions, treated, covariate=before, alpha=alpha)
    plain = single if before is None else once(profit, impressions, treated, alpha=alpha)
    return Comparison(
        control=control,
        treatment=treatment,
        units={arm: int(side.sum()) for arm, side in sides.items()},
        profit_per_impression={
            arm: float(profit[side].sum() / impressions[side].sum()) for arm, side in sides.items()
        },
        difference=difference,
        low=low,
        high=high,
        decided_at=decided_at,
        decided_difference=None if decided_at is None else until(decided_at)[0],
        p_value=float(np.exp(-max(float(evidence.max()), 0.0))),
        alpha=alpha,
        once=single,
        variance_saved=_saved(single, plain),
        mismatch_p_value=_mismatch(table["arm"], shares),
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


def _numbers(table: pl.DataFrame, column: str) -> NDArray[np.float64]:
    return table[column].cast(pl.Float64).to_numpy()


def _check(table: pl.DataFrame, shares: Mapping[str, float], covariate: str | None) -> None:
    wanted = COLUMNS if covariate is None else (*COLUMNS, covariate)
    for column in wanted:
        if column not in table.columns:
            raise ValueError(f"column {column!r} is missing: found {table.columns}")
    if not table.height:
        raise ValueError("table has no rows: give one for each unit and period that is over")
    if "currency" in table.columns and len(found := table["currency"].unique().sort()) > 1:
        raise ValueError(
            f"column 'currency' has {found.to_list()}: compare each currency by itself, or convert "
            "all profit to one"
        )
    for column in ("unit", "period", "arm"):
        _refuse(table, column, table[column].is_null(), "give every row one")
    _check_periods(table)
    for column in wanted[3:]:
        values = table[column]
        if not values.dtype.is_numeric():
            raise ValueError(f"column {column!r} is {values.dtype}: give numbers")
        bad = ~values.cast(pl.Float64).is_finite().fill_null(False)
        fix = "give a number known before the test, such as the category's mean"
        fix = fix if column == covariate else "give a number, or leave the row out"
        _refuse(table, column, bad, fix)
    negative = table["impressions"] < 0
    _refuse(table, "impressions", negative, "give 0 or more")
    strange = ~table["arm"].cast(pl.String).is_in(list(shares))
    _refuse(table, "arm", strange, f"give one of {sorted(shares)}")
    again = ~pl.struct("unit", "period").is_first_distinct()
    twice = table.select(again.alias("twice"))["twice"]
    _refuse(table, "unit", twice, "sum profit and impressions over each unit and period")


def _check_periods(table: pl.DataFrame) -> None:
    """Refuse periods as text whose order is not that of time."""
    period = table["period"]
    if period.dtype not in (pl.String, pl.Categorical) or period.n_unique() == 1:
        return
    unlike = [~period.cast(pl.String).str.contains(form) for form in _ISO]
    fix = (
        "give dates or numbers, or as text ISO days ('2026-01-31'), weeks ('2026-W05') or months "
        "('2026-01'), one form in all rows: the order of other text is not that of time"
    )
    _refuse(table, "period", min(unlike, key=pl.Series.sum), fix)


def _check_throws(table: pl.DataFrame, shares: Mapping[str, float]) -> None:
    """Refuse units that recur without a new throw of the coin; the table in the order of time."""
    arm = pl.col("arm").cast(pl.String)
    again = table.select(arm, before=arm.shift().over("unit")).drop_nulls()
    stayed = (again["arm"] == again["before"]).to_numpy()
    share = again["arm"].replace_strict(dict(shares), return_dtype=pl.Float64).to_numpy()
    if sample_ratio.recurring_log_evidence(stayed, share) >= -math.log(MISMATCH_ALPHA):
        expected = len(stayed) * (1 - sum(p * p for p in shares.values()))
        raise ValueError(
            f"column 'arm': {len(stayed)} rows repeat a unit and {(~stayed).sum()} of them change "
            f"its arm, where draws by the shares would change about {expected:.0f}: sum profit "
            "and impressions of each unit over all periods of one draw, to one row"
        )


def _refuse(table: pl.DataFrame, column: str, bad: pl.Series, fix: str) -> None:
    if bad.any():
        row = int(bad.arg_true()[0])
        again = f" a second time in period {table['period'][row]!r}" if column == "unit" else ""
        again = "" if table[column][row] is None else again
        raise ValueError(
            f"column {column!r}, row {row} is {table[column][row]!r}{again} "
            f"({int(bad.sum())} such rows): {fix}"
        )
