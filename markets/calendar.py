"""When people buy: weekdays and months of a record, and the day each listing arrived."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.history import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# A shop that was closed on Saturdays is looked at on Saturdays all the same.
_LEAST, _MOST = 0.2, 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """Seasonality and arrivals as recorded.

    Attributes:
        weekday: units a day on Monday ... Sunday against their mean, float64 (7,); all 1 where a
            record knows one weekday only, as one by weeks does.
        month: units a day in January ... December against the mean of the months on record,
            float64 (12,); 1 where the record has no such month.
        arrival: first recorded sale of each listing, days since 1970, int64 (n,).
    """

    weekday: Floats
    month: Floats
    arrival: Ints

    @classmethod
    def from_history(cls, history: History) -> Calendar:
        """Read off a record. Factors are held within [0.2, 3], then scaled to a mean of 1."""
        days = (
            history.sales.group_by(pl.col("at").dt.date().alias("date"))
            .agg(pl.col("units").sum())
            .with_columns(
                pl.col("date").dt.weekday().alias("weekday"),
                pl.col("date").dt.month().alias("month"),
            )
        )
        arrivals = history.listings.select("listing_id").join(
            history.sales.group_by("listing_id").agg(pl.col("at").min().dt.date()),
            on="listing_id",
            how="left",
            maintain_order="left",
        )
        first = arrivals["at"].cast(pl.Int32).fill_null(0).cast(pl.Int64).to_numpy()
        # A weekday that is missing from a record of weeks was a day without sales.
        absent = 0.0 if days.height >= 28 else None
        return cls(
            weekday=_factors(days, "weekday", 7, absent),
            month=_factors(days, "month", 12, None),
            arrival=first,
        )

    def factor(self, date: Ints) -> Floats:
        """Impressions against the mean day's, (n,); `date` in days since 1970."""
        month = date.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
        factor: Floats = self.weekday[weekday(date)] * self.month[month]
        return factor


def weekday(date: Ints) -> Ints:
    """0 for Monday ... 6 for Sunday, int64 (n,); `date` in days since 1970."""
    return (date + 3) % 7  # 1970-01-01 was a Thursday


def _factors(days: pl.DataFrame, column: str, count: int, absent: float | None) -> Floats:
    """Mean units a day of each value of `column`, 1 ... count, over the mean of these."""
    means = days.group_by(column).agg(pl.col("units").mean())
    if means.height < 2:
        return np.ones(count)
    factors = np.full(count, np.nan)
    factors[means[column].to_numpy().astype(np.int64) - 1] = means["units"].to_numpy()
    if absent is not None:
        factors = np.nan_to_num(factors, nan=absent)
    mean = np.nanmean(factors)
    if not mean > 0.0:
        return np.ones(count)
    held = np.clip(factors / mean, _LEAST, _MOST)
    normed: Floats = np.nan_to_num(held / np.nanmean(held), nan=1.0)
    return normed
