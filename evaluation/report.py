"""What a benchmark says: shares, regret and their intervals over seeds, one row for a seller."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evaluation.benchmark import Outcome
from evaluation.intervals import Interval, Ratio, student
from evaluation.trial import Result

Floats = npt.NDArray[np.float64]

LEVEL = 0.95
AGAINST = "pricebandit"
"""The seller that others are compared with, where it took part."""

_NOTHING = Interval(float("nan"), float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class Row:
    """A seller in a market. Intervals are Student's over seeds, NaN with one seed.

    Attributes:
        seeds: trials held.
        share: of the gain of the clairvoyant who may charge any price, over the season.
        difference: of `share` to the seller compared with, over the seeds of both; NaN for itself.
        day_one: `share` on the first day.
        first_regret: 1 - `share` over each listing's first 100 impressions.
        regret: 1 - `share`.
        best_rung: share of the gain of the clairvoyant who may charge the ladders' rungs only.
        pace: decisions per second of processor time, pricing and learning.
    """

    seller: str
    seeds: int
    share: Interval
    difference: Interval
    day_one: Interval
    first_regret: Interval
    regret: Interval
    best_rung: Interval
    pace: float


def over_seeds(values: npt.ArrayLike) -> Interval:
    """Mean of one value a seed, (m,), and its interval by Student's t; NaN values are left out.

    The seeds draw buyers, split and visitors anew over the same catalogue, so the interval is
    about those draws and not about other catalogues.
    """
    found = np.asarray(values, np.float64)
    found = found[np.isfinite(found)]
    if not found.size:
        return _NOTHING
    each = np.arange(found.size)
    return student([Ratio(found, np.ones(found.size))], each, LEVEL, found.size - 1)


def rows(outcome: Outcome, market: str, sellers: Iterable[str], against: str) -> list[Row]:
    """Sellers in a market, the highest share first; those without a result are left out."""
    base = outcome.of(market, against)
    found = [
        _row(seller, results, {} if seller == against else base)
        for seller in sellers
        if (results := outcome.of(market, seller))
    ]
    return sorted(found, key=lambda row: -row.share.value)


def daily_share(results: Mapping[int, Result]) -> Floats:
    """Share of the clairvoyant's gain on each day, (seeds, days); NaN where there was none."""
    return np.array([_ratio(result.gain, result.best) for result in results.values()])


def cumulative_regret(results: Mapping[int, Result]) -> Floats:
    """Gain missed up to each day, as a share of the clairvoyant's of the season, (seeds, days)."""
    missed = [np.cumsum(result.best - result.gain) for result in results.values()]
    totals = [result.best.sum() for result in results.values()]
    return _ratio(np.array(missed), np.array(totals)[:, None])


def _row(seller: str, results: Mapping[int, Result], base: Mapping[int, Result]) -> Row:
    found = list(results.values())
    share = _over(found, "gain", "best")
    both = [seed for seed in results if seed in base]
    mine = _over([results[seed] for seed in both], "gain", "best")
    theirs = _over([base[seed] for seed in both], "gain", "best")
    firsts = [np.array([getattr(r, n) for r in found]) for n in ("first_gain", "first_best")]
    seconds = sum(result.seconds for result in found)
    return Row(
        seller,
        len(found),
        over_seeds(share),
        over_seeds(mine - theirs),
        over_seeds(daily_share(results)[:, 0]),
        over_seeds(1.0 - _ratio(*firsts)),
        over_seeds(1.0 - share),
        over_seeds(_over(found, "gain", "best_rung")),
        sum(result.decisions for result in found) / seconds if seconds > 0 else float("nan"),
    )


def _over(results: list[Result], part: str, whole: str) -> Floats:
    """Ratio of two gains over the season, (m,)."""
    sums = [np.array([getattr(r, name).sum() for r in results]) for name in (part, whole)]
    return _ratio(*sums)


def _ratio(part: Floats, whole: Floats) -> Floats:
    """NaN where the whole is not above zero."""
    ratio: Floats = np.where(whole > 0.0, part / np.where(whole > 0.0, whole, 1.0), np.nan)
    return ratio
