"""What is left to sell, until when, and how many are expected to look at it."""

import numpy as np
from numpy.typing import NDArray

from bandits import Evidence, Stock
from service.catalogue import Catalogue, rfc3339
from service.problems import ItemError
from service.subjects import Subjects

DAY_US = 86_400_000_000

USUAL = 100.0
"""Impressions a day that a listing is expected to have where no listing has had any yet."""

_ODD = 100.0
"""Times the median listing's impressions a day, beyond which, either way, one does not tell of
others."""

# Impressions of single days spread about as widely as an exponential distribution, which is a
# Gamma of shape 1: the mean over d of them, and so what d days tell of the next, has shape d.
# Listings of one catalogue differ more than days of one listing do: a stranger's shape is half.
STRANGER = 0.5

TOLD = 4.0
"""Shape where the request says what to expect: a forecast that is half its size off."""

_LATEST = 1_000_000  # days; plans for longer are no different, and the number must stay whole


def overdue(subjects: Subjects, at_us: int) -> list[ItemError]:
    """An error for every subject whose last day is past."""
    past = (subjects.sell_by <= at_us) & np.isnan(subjects.periods_left)
    return [
        ItemError(
            row,
            "sell_by",
            f"sell_by is {_shown(subjects.sell_by[row])}, which is past: "
            "move it, or say periods_left in the request",
        )
        for row in np.flatnonzero(past).tolist()
    ]


def _shown(end_us: float) -> str:
    """A `sell_by` as it was sent: a day, or a time (UTC)."""
    first_year = -62_135_596_800_000_000  # of the calendar; an offset may lead to before it
    text = rfc3339(max(int(end_us), first_year))
    return text[:10] if text.endswith("T23:59:59.999999Z") else text


def stock_of(
    catalogue: Catalogue, evidence: Evidence, subjects: Subjects, horizon_days: int, at_us: int
) -> Stock | None:
    """Units and days left of each subject, and impressions expected; None where nothing ends.

    Sold out, a listing is priced for its last unit: that is the price at which one more, restocked
    or returned, would have been sold.

    Args:
        horizon_days: planned over where nothing says until when.
    """
    ends = ~np.isnan(subjects.inventory)
    if not ends.any():
        return None
    days = np.where(
        np.isnan(subjects.periods_left),
        np.ceil((subjects.sell_by - at_us) / DAY_US),
        subjects.periods_left,
    )
    told = ~np.isnan(days)
    days = np.where(told, days, horizon_days)
    impressions, certainty = np.zeros(len(subjects)), np.ones(len(subjects))
    rows = np.flatnonzero(ends)
    impressions[rows], certainty[rows] = _expected(catalogue, evidence, subjects.take(rows))
    return Stock(
        np.maximum(subjects.inventory, 1.0),
        days.clip(1, _LATEST).astype(np.int64),
        impressions,
        certainty,
        told,
    )


def _expected(
    catalogue: Catalogue, evidence: Evidence, subjects: Subjects
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impressions expected a day, and the shape of the Gamma that says how surely, (n,) each.

    The request's `traffic`; else the listing's own impressions a day, drawn towards the
    catalogue's as far as there are few days of them.
    """
    seen, days = _seen(evidence, subjects)
    certainty = STRANGER + days
    told = ~np.isnan(subjects.traffic)
    usual = 0.0 if told.all() else _usual(catalogue, evidence)
    impressions = (STRANGER * usual + seen) / certainty
    return np.where(told, subjects.traffic, impressions), np.where(told, TOLD, certainty)


def impressions_of(evidence: Evidence, subjects: Subjects) -> NDArray[np.float64]:
    """Impressions a day by the request's `traffic`, else by those of the listing's own days so
    far; NaN where there are neither, (n,).
    """
    seen, days = _seen(evidence, subjects)
    own = np.where(seen > 0, seen / np.maximum(days, 1.0), np.nan)
    return np.where(np.isnan(subjects.traffic), own, subjects.traffic)


def _seen(
    evidence: Evidence, subjects: Subjects
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impressions so far, and the days that they came in, (n,) each; 0 without any."""
    slot = evidence.rows_of(subjects.listing)
    own = slot >= 0
    seen, days = np.zeros((2, len(subjects)))
    seen[own] = evidence.totals[slot[own], 1].numpy()
    days[own] = _days(evidence.as_of[slot[own]], subjects.first_at[own])
    return seen, days


def _usual(catalogue: Catalogue, evidence: Evidence) -> float:
    """Impressions a day of the mean listing that has had any, those aside that have a hundred times
    the median's, or a hundredth: a slip of one, of a number or of a day, is nobody else's traffic.
    """
    days = _days(evidence.as_of, catalogue.first_at[evidence.listing])
    seen = evidence.totals[: len(evidence), 1].numpy()
    shown = seen > 0
    if not shown.any():
        return USUAL
    rate = seen / days
    median = np.median(rate[shown])
    likely = shown & (rate <= _ODD * median) & (rate * _ODD >= median)
    return float(seen[likely].sum() / days[likely | ~shown].sum())


def _days(last_us: NDArray[np.float64], first_us: NDArray[np.float64]) -> NDArray[np.float64]:
    """Days from the first offer to the last sale or look that was told of, at least one.

    Not to this day: what the last days brought may still have to come in.
    """
    return np.fmax((last_us - first_us) / DAY_US, 1.0)
