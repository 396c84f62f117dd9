"""The table of an A/B test: one row for each unit and period, refused where it is none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evaluation import sample_ratio
from evaluation.assignment import check_shares

COLUMNS = ("unit", "period", "arm", "profit", "impressions")
"""What has to be known of every listing or family in every period."""

RECURRING_ALPHA = 0.001
"""Rate of false alarms of the test that units change arms."""

_MONTH = "^[0-9]{4}-(0[1-9]|1[0-2])"
_ISO = (  # days, weeks and months, whose order as text is that of time
    f"{_MONTH}-(0[1-9]|[12][0-9]|3[01])$",
    "^[0-9]{4}-W(0[1-9]|[1-4][0-9]|5[0-3])$",
    f"{_MONTH}$",
)


@dataclass(frozen=True, slots=True, eq=False)
class TwoArms:
    """Units of two arms in the order of time.

    Attributes:
        profit: of each unit and period, currency units, (n,). impressions: (n,).
        treated: whether it was in the treatment, (n,).
        share: of the coin that decided between the two, for the treatment.
        covariate: profit per impression before the experiment, (n,), or None.
        arms: of the units of all arms, in the order of time.
    """

    profit: NDArray[np.float64]
    impressions: NDArray[np.float64]
    treated: NDArray[np.bool_]
    share: float
    covariate: NDArray[np.float64] | None
    arms: pl.Series

    @classmethod
    def of(
        cls,
        table: pl.DataFrame,
        control: str,
        treatment: str,
        shares: Mapping[str, float],
        covariate: str | None,
    ) -> TwoArms:
        """The units of two arms of a table, as `compare` takes it.

        Raises:
            ValueError: as `compare`, for its table, shares and arms.
        """
        check_shares(shares)
        for field, arm in (("control", control), ("treatment", treatment)):
            if arm not in shares:
                raise ValueError(f"{field} is {arm!r}: give one of {sorted(shares)}")
        if control == treatment:
            raise ValueError(f"treatment is {treatment!r}, the control too: give two arms")
        _check(table, shares, covariate)
        table = table.sort("period", "unit")
        pair = table.filter(pl.col("arm").is_in([control, treatment]))
        treated = (pair["arm"] == treatment).to_numpy()
        impressions = _numbers(pair, "impressions")
        for arm, side in ((control, ~treated), (treatment, treated)):
            if not impressions[side].sum() > 0:
                raise ValueError(
                    f"column 'arm': {arm!r} has {side.sum()} units and no impressions: wait for "
                    "some, or correct the name"
                )
        _check_throws(table, shares)
        return cls(
            _numbers(pair, "profit"),
            impressions,
            treated,
            shares[treatment] / (shares[control] + shares[treatment]),
            None if covariate is None else _numbers(pair, covariate),
            table["arm"],
        )

    def first(self, count: int) -> TwoArms:
        """The first units of both arms together."""
        before = None if self.covariate is None else self.covariate[:count]
        return TwoArms(
            self.profit[:count],
            self.impressions[:count],
            self.treated[:count],
            self.share,
            before,
            self.arms,
        )


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
    if sample_ratio.recurring_log_evidence(stayed, share) >= -math.log(RECURRING_ALPHA):
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
