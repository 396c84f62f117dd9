"""Simulated buyers: what demand would be, hidden from every policy that prices for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import ndtr, ndtri

from markets import chance
from markets.demand import FAMILIES, Floats, Ints, highest, units_per_impression
from markets.history import History
from markets.record import levels
from markets.texts import clusters, text_vectors

# Own-price elasticity at v: quantile -> value. Median and quartiles are those of scanner panels
# with promotions controlled for; the ends cut off what no shop could price for.
_ELASTICITY_AT = ((0.0, 0.25, 0.5, 0.75, 1.0), (-4.5, -2.6, -1.9, -1.2, -1.05))
_VALUE_SPREAD = 0.15
_CONVERSION_MEDIAN, _CONVERSION_SPREAD, _CONVERSION_MOST = 0.04, 0.5, 0.25
# Recorded conversions are pulled towards the median as by this many further impressions.
_CONVERSION_WEIGHT = 100.0
_MOVE_MOST = 2.5
_MARGIN_MEAN, _MARGIN_BETWEEN, _MARGIN_WITHIN, _MARGIN_LIMITS = 0.45, 0.08, 0.05, (0.1, 0.8)
_IMPRESSIONS_LIMITS = (10.0, 1000.0)
_CHOKE_MEDIAN, _CHOKE_SPREAD, _CHOKE_LIMITS = 2.5, 0.2, (1.8, 4.0)

# What a number of `chance` is for.
IMPRESSIONS, VISITORS = 1, 2


@dataclass(frozen=True, slots=True, eq=False)
class Buyers:
    """Buyers for every listing of a history, drawn from one seed.

    Description:
        Each impression is a visitor who buys one unit with the listing's conversion at the price
        shown: a curve of `markets.demand` in the relative price p / v. Listings do not compete,
        visitors do not return, days are alike; `Season` adds what changes from day to day.

    What is real:
        Titles and texts, the price level (`recorded_price`), the demand level (recorded units a
        day; with recorded impressions also the conversion at the recorded price), and unit costs
        where they are recorded.

    What is assumed:
        `elasticity` (no record at hand identifies it per product; drawn with median -1.9 and
        quartiles -2.6 and -1.2, within [-4.5, -1.05]; `text_share` of its variance, on the scale
        of a normal, is common to a cluster of similar titles), the demand `family` (drawn among
        `families`, each as likely), `value` (`recorded_price` x lognormal(0, 0.15): the shop
        priced near what buyers think right), `choke` (2.5 x lognormal(0, 0.2), within [1.8, 4]),
        unit costs where unrecorded (margin of a category, or of a product family where there is
        no category, about 0.45 +- 0.08, of a listing +- 0.05 around that), conversion where
        impressions are unrecorded (lognormal around 0.04, sigma 0.5, at most 0.25), and then
        impressions (recorded units a day / conversion, within [10, 1000]).

    Args:
        unit_cost: float64 (n,), currency units per unit.
        recorded_price: float64 (n,), units-weighted median of recorded prices, currency units.
        value: float64 (n,), v, currency units.
        elasticity: float64 (n,), own-price elasticity at p = v, below zero.
        family: int64 (n,), index into `FAMILIES`.
        conversion: float64 (n,), units per impression at p = v.
        choke: float64 (n,), p / v above which constant-elasticity buyers buy nothing.
        mean_impressions: float64 (n,), impressions a day.
        keys: uint64 (n,), where each listing's days are drawn from.
    """

    unit_cost: Floats
    recorded_price: Floats
    value: Floats
    elasticity: Floats
    family: Ints
    conversion: Floats
    choke: Floats
    mean_impressions: Floats
    keys: chance.Keys

    @classmethod
    def from_history(
        cls,
        history: History,
        seed: int,
        *,
        families: Sequence[str] = FAMILIES[:3],
        text_share: float = 0.0,
    ) -> Buyers:
        """Draw buyers for `history.listings`, in their order.

        Each property has its own random stream, so that a recorded cost, say, changes no
        elasticity; the same seed and number of listings give the same elasticities and families.

        Args:
            families: demand families to draw from, names of `FAMILIES`.
            text_share: share of the spread of elasticities that texts explain, in [0, 1].

        Raises:
            ValueError: no listings, or one without a sales row, so that its price level is
                unknown; an unknown family; a share outside [0, 1].
        """
        numbers = _numbers(families)
        if not history.listings.height:
            raise ValueError("the history has no listings")
        record = levels(history)
        n = record.height
        of_value, of_elasticity, of_family, of_conversion, of_margin, of_cluster, of_choke = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(7)
        )
        price = record["price"].to_numpy()
        drawn_cost = price * (1.0 - _draw_margin(record, of_margin))
        recorded_cost = record["unit_cost"].to_numpy()  # NaN where unrecorded

        drawn = _CONVERSION_MEDIAN * np.exp(_CONVERSION_SPREAD * of_conversion.standard_normal(n))
        units, shown = record["units"].to_numpy(), record["impressions"].to_numpy()
        measured = (units + _CONVERSION_WEIGHT * _CONVERSION_MEDIAN) / (shown + _CONVERSION_WEIGHT)
        counted = shown > 0  # False where NaN
        conversion = np.minimum(np.where(counted, measured, drawn), _CONVERSION_MOST)
        days = record["days"].to_numpy()
        implied = np.clip(units / days / conversion, *_IMPRESSIONS_LIMITS)
        choke = _CHOKE_MEDIAN * np.exp(_CHOKE_SPREAD * of_choke.standard_normal(n))
        rank = _by_text(of_elasticity.random(n), history, text_share, of_cluster)
        buyers = cls(
            unit_cost=np.where(np.isnan(recorded_cost), drawn_cost, recorded_cost),
            recorded_price=price,
            value=price * np.exp(_VALUE_SPREAD * of_value.standard_normal(n)),
            elasticity=np.interp(rank, *_ELASTICITY_AT),
            family=numbers[of_family.integers(len(numbers), size=n)],
            conversion=conversion,
            choke=np.clip(choke, *_CHOKE_LIMITS),
            mean_impressions=np.where(counted, shown / days, implied),
            keys=chance.keys(seed, n),
        )
        # A conversion was measured at the recorded price: move it along the curve to v. Bounded,
        # because a linear curve may already be at nothing there.
        moved = np.clip(buyers.units_per_impression(price) / conversion, 1 / _MOVE_MOST, _MOVE_MOST)
        at_value = np.minimum(conversion / moved, _CONVERSION_MOST)
        return replace(buyers, conversion=np.where(counted, at_value, conversion))

    def __len__(self) -> int:
        return self.value.size

    def take(self, rows: npt.NDArray[Any]) -> Buyers:
        """The buyers of some listings, by row (int64 or bool); their days stay what they are."""
        return Buyers(**{name: getattr(self, name)[rows] for name in self.__slots__})

    def units_per_impression(self, prices: npt.ArrayLike) -> Floats:
        """Expected units per impression at `prices`, (n,) or (n, k) in currency units; same shape.

        Raises:
            ValueError: a shape that is neither, or a price that is negative or not a number.
        """
        p = self._checked(prices)
        columns = (self.value, self.elasticity, self.conversion, self.choke)
        # (n,) or (n, 1)
        value, *rest = (column.reshape(-1, *[1] * (p.ndim - 1)) for column in columns)
        return units_per_impression(self.family.reshape(value.shape), p / value, *rest)

    def profit_per_impression(self, prices: npt.ArrayLike) -> Floats:
        """Expected profit per impression, currency units, at `prices` (n,) or (n, k)."""
        p = self._checked(prices)
        return (p - self.unit_cost.reshape(-1, *[1] * (p.ndim - 1))) * self.units_per_impression(p)

    def impressions(self, day: int) -> Ints:
        """Impressions of every listing on `day` (0, 1, ...): int64 (n,), whatever is charged."""
        return chance.poisson(chance.uniform(self.keys, IMPRESSIONS, day), self.mean_impressions)

    def sell(self, day: int, prices: npt.ArrayLike, impressions: npt.ArrayLike) -> Ints:
        """Units sold on `day`: int64 (n,), binomial given `impressions`.

        Two policies meet the same visitors: the same price sells the same units, a lower price
        never fewer.

        Args:
            day: 0, 1, ...
            prices: (n,), currency units per unit.
            impressions: integers (n,), at least 0.

        Raises:
            ValueError: another shape, a bad price, or impressions that are not counts.
        """
        demand = self.units_per_impression(prices)
        shown = np.asarray(impressions)
        if demand.ndim != 1 or shown.shape != demand.shape:
            raise ValueError(
                f"expected prices and impressions of shape {self.value.shape}, "
                f"not {demand.shape} and {shown.shape}"
            )
        if shown.dtype.kind not in "iu" or (shown < 0).any():
            raise ValueError("impressions must be integers of at least 0")
        return chance.binomial(chance.uniform(self.keys, VISITORS, day), shown, demand)

    def clairvoyant(self) -> Floats:
        """The prices (n,) with the highest expected profit, by one who knows the buyers.

        Up to the price above which nobody buys, profit above cost has one peak in every family,
        and it lies below that price or c + 5 v / e.
        """
        c, e = self.unit_cost, -self.elasticity
        reach = self.value * np.maximum(5.0 / e, self.choke)
        return highest(self.profit_per_impression, c, c + reach)

    def _checked(self, prices: npt.ArrayLike) -> Floats:
        p = np.asarray(prices, np.float64)
        if p.ndim not in (1, 2) or p.shape[0] != self.value.size:
            n = self.value.size
            raise ValueError(f"expected prices of shape ({n},) or ({n}, k), not {p.shape}")
        if not (np.isfinite(p) & (p >= 0.0)).all():
            raise ValueError("prices must be finite and at least 0")
        return p


def _numbers(families: Sequence[str]) -> Ints:
    unknown = [name for name in families if name not in FAMILIES]
    if unknown or not families:
        raise ValueError(
            f"families: expected names among {', '.join(FAMILIES)}, not {list(families)}"
        )
    return np.array([FAMILIES.index(name) for name in families])


def _by_text(u: Floats, history: History, share: float, stream: np.random.Generator) -> Floats:
    """Uniform numbers (n,), some of whose spread is common to listings with similar titles."""
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"text_share must lie in [0, 1], not {share}")
    if share == 0.0:
        return u
    cluster = clusters(text_vectors(history.listings["title"].to_list()))
    common = stream.standard_normal(cluster.max() + 1)[cluster]
    mixed: Floats = ndtr(np.sqrt(share) * common + np.sqrt(1.0 - share) * ndtri(u))
    return mixed


def _draw_margin(record: pl.DataFrame, stream: np.random.Generator) -> Floats:
    """Margins (n,), as shares of the price: alike within a category or product family."""
    _, group = np.unique(record["margin_group"].to_numpy(), return_inverse=True)
    between = _MARGIN_BETWEEN * stream.standard_normal(record.height)[group]
    within = _MARGIN_WITHIN * stream.standard_normal(record.height)
    margin: Floats = np.clip(_MARGIN_MEAN + between + within, *_MARGIN_LIMITS)
    return margin
