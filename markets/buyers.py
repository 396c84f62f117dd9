"""Simulated buyers: what demand would be, hidden from every policy that prices for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.history import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FAMILIES = ("logit", "exponential", "linear")

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
# A product seen on a single day has not been shown to sell that much every day.
_SHORTEST_SPAN_DAYS = 28
_VISITORS_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Buyers:
    """Buyers for every listing of a history, drawn from one seed.

    Description:
        Each impression is a visitor who buys one unit with the listing's conversion at the price
        shown. With relative price r = p / v, elasticity e = -`elasticity` > 0 and conversion
        `k` = `conversion`, all at r = 1:

        - logit: d(r) = 1 / (1 + exp(a + b (r - 1))), a = log((1 - k) / k), b = e / (1 - k);
        - exponential: d(r) = k exp(-e (r - 1));
        - linear: d(r) = k (1 - e (r - 1)).

        Each is cut to [0, 1]. Listings do not compete, visitors do not return, days are alike.

    What is real:
        Titles and texts, the price level (`recorded_price`), the demand level (recorded units a
        day; with recorded impressions also the conversion at the recorded price), and unit costs
        where they are recorded.

    What is assumed:
        `elasticity` (no record at hand identifies it per product; drawn with median -1.9 and
        quartiles -2.6 and -1.2, within [-4.5, -1.05]), the demand `family` (each a third), `value`
        (`recorded_price` x lognormal(0, 0.15): the shop priced near what buyers think right),
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
        mean_impressions: float64 (n,), impressions a day.
        seed: seeds the days; `from_history` also draws the arrays from it.
    """

    unit_cost: Floats
    recorded_price: Floats
    value: Floats
    elasticity: Floats
    family: Ints
    conversion: Floats
    mean_impressions: Floats
    seed: int

    @classmethod
    def from_history(cls, history: History, seed: int) -> Buyers:
        """Draw buyers for `history.listings`, in their order.

        Each property has its own random stream, so that a recorded cost, say, changes no
        elasticity; the same seed and number of listings give the same elasticities and families.

        Raises:
            ValueError: a listing has no sales row, so that its price level is unknown.
        """
        record = _record(history)
        n = record.height
        of_value, of_elasticity, of_family, of_conversion, of_margin = (
            np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(5)
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
        buyers = cls(
            unit_cost=np.where(np.isnan(recorded_cost), drawn_cost, recorded_cost),
            recorded_price=price,
            value=price * np.exp(_VALUE_SPREAD * of_value.standard_normal(n)),
            elasticity=np.interp(of_elasticity.random(n), *_ELASTICITY_AT),
            family=of_family.integers(len(FAMILIES), size=n),
            conversion=conversion,
            mean_impressions=np.where(counted, shown / days, implied),
            seed=seed,
        )
        # A conversion was measured at the recorded price: move it along the curve to v. Bounded,
        # because a linear curve may already be at nothing there.
        moved = np.clip(buyers.units_per_impression(price) / conversion, 1 / _MOVE_MOST, _MOVE_MOST)
        at_value = np.minimum(conversion / moved, _CONVERSION_MOST)
        return replace(buyers, conversion=np.where(counted, at_value, conversion))

    def units_per_impression(self, prices: npt.ArrayLike) -> Floats:
        """Expected units per impression at `prices`, (n,) or (n, k) in currency units; same shape.

        Raises:
            ValueError: a shape that is neither, or a price that is negative or not a number.
        """
        p = self._checked(prices)
        columns = (self.value, -self.elasticity, self.conversion)
        v, e, k = (column.reshape(-1, *[1] * (p.ndim - 1)) for column in columns)  # (n,) or (n, 1)
        family = self.family.reshape(v.shape)
        x = p / v - 1.0
        # Prices far off the scale overflow to 0 or 1, which is what they mean.
        with np.errstate(over="ignore"):
            logit = 1.0 / (1.0 + (1.0 - k) / k * np.exp(e / (1.0 - k) * x))
            exponential = k * np.exp(-e * x)
        linear = k * (1.0 - e * x)
        demand = np.where(family == 0, logit, np.where(family == 1, exponential, linear))
        return np.clip(demand, 0.0, 1.0)

    def profit_per_impression(self, prices: npt.ArrayLike) -> Floats:
        """Expected profit per impression, currency units, at `prices` (n,) or (n, k)."""
        p = self._checked(prices)
        return (p - self.unit_cost.reshape(-1, *[1] * (p.ndim - 1))) * self.units_per_impression(p)

    def impressions(self, day: int) -> Ints:
        """Impressions of every listing on `day` (0, 1, ...): int64 (n,), whatever is charged."""
        stream = np.random.SeedSequence(self.seed, spawn_key=(_IMPRESSIONS_STREAM, day))
        return np.random.default_rng(stream).poisson(self.mean_impressions)

    def sell(self, day: int, prices: npt.ArrayLike, impressions: npt.ArrayLike) -> Ints:
        """Units sold on `day`: int64 (n,), binomial given `impressions`.

        Visitor j of listing i carries one number that depends on seed, day, i and j only and buys
        where it lies below the conversion at the price shown. So two policies meet the same
        visitors: the same price sells the same units, a lower price never fewer.

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
        shown = shown.astype(np.int64)
        stream = np.random.SeedSequence(self.seed, spawn_key=(_VISITORS_STREAM, day))
        keys = np.random.default_rng(stream).integers(1 << 64, size=demand.size, dtype=np.uint64)
        units = np.zeros(demand.size, np.int64)
        # In blocks of listings, so that a million visitors of each do not have to fit in memory.
        block = np.cumsum(shown) // _VISITORS_AT_ONCE
        starts = np.flatnonzero(np.diff(block, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], demand.size], strict=True):
            rows = slice(start, stop)
            units[rows] = _count_buyers(keys[rows], demand[rows], shown[rows])
        return units

    def clairvoyant(self) -> Floats:
        """The prices (n,) with the highest expected profit, by one who knows the buyers.

        Each family's logarithm is concave in the price, so profit above cost has one peak. It lies
        below c + 5 v / e for all three; a grid brackets it and golden sections close in.
        """
        c, reach = self.unit_cost, -5.0 * self.value / self.elasticity
        grid = c[:, None] + reach[:, None] * np.linspace(0.0, 1.0, _GRID)  # (n, _GRID)
        best = self.profit_per_impression(grid).argmax(axis=1)
        low = c + reach * (np.maximum(best - 1, 0) / (_GRID - 1))
        high = c + reach * (np.minimum(best + 1, _GRID - 1) / (_GRID - 1))
        for _ in range(_GOLDEN_STEPS):
            left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
            rises = self.profit_per_impression(left) < self.profit_per_impression(right)
            low, high = np.where(rises, left, low), np.where(rises, high, right)
        middle: Floats = (low + high) / 2.0
        return middle

    def _checked(self, prices: npt.ArrayLike) -> Floats:
        p = np.asarray(prices, np.float64)
        if p.ndim not in (1, 2) or p.shape[0] != self.value.size:
            n = self.value.size
            raise ValueError(f"expected prices of shape ({n},) or ({n}, k), not {p.shape}")
        if not (np.isfinite(p) & (p >= 0.0)).all():
            raise ValueError("prices must be finite and at least 0")
        return p


_IMPRESSIONS_STREAM, _VISITORS_STREAM = 1001, 1002
_GRID = 65
_GOLDEN = (5**0.5 - 1.0) / 2.0
_GOLDEN_STEPS = 40


def _record(history: History) -> pl.DataFrame:
    """Per listing, in order: price, units, impressions, days on sale, unit cost, margin group.

    Counts are floats, so that what is not recorded is NaN in arrays.
    """
    sales = history.sales.sort("listing_id", "price").with_columns(
        (
            pl.col("units").cum_sum().over("listing_id") * 2
            >= pl.col("units").sum().over("listing_id")
        ).alias("half_sold")
    )
    per_listing = sales.group_by("listing_id").agg(
        # The first price at which half the units are reached; where none sold, the lowest charged.
        pl.col("price").filter("half_sold").first(),
        pl.col("units").sum().cast(pl.Float64),
        # One uncounted row makes the listing's sum meaningless.
        pl.when(pl.col("impressions").null_count() == 0)
        .then(pl.col("impressions").sum().cast(pl.Float64))
        .alias("impressions"),
        ((pl.col("at").max() - pl.col("at").min()).dt.total_days() + 1).alias("days"),
    )
    record = history.listings.join(per_listing, on="listing_id", how="left", maintain_order="left")
    unsold = record.filter(pl.col("price").is_null())
    if unsold.height:
        raise ValueError(
            f"listing {unsold['listing_id'][0]!r} has no sales row, so no price level "
            f"({unsold.height} such listings)"
        )
    return record.select(
        "price",
        "units",
        pl.col("impressions").fill_null(float("nan")),
        pl.col("days").cast(pl.Float64).clip(lower_bound=_SHORTEST_SPAN_DAYS),
        pl.col("unit_cost").fill_null(float("nan")),
        pl.coalesce("category", "family_group").alias("margin_group"),
    )


def _draw_margin(record: pl.DataFrame, stream: np.random.Generator) -> Floats:
    """Margins (n,), as shares of the price: alike within a category or product family."""
    _, group = np.unique(record["margin_group"].to_numpy(), return_inverse=True)
    between = _MARGIN_BETWEEN * stream.standard_normal(record.height)[group]
    within = _MARGIN_WITHIN * stream.standard_normal(record.height)
    margin: Floats = np.clip(_MARGIN_MEAN + between + within, *_MARGIN_LIMITS)
    return margin


def _count_buyers(keys: npt.NDArray[np.uint64], demand: Floats, shown: Ints) -> Ints:
    """How many of each listing's visitors have a number below its demand, all (m,)."""
    listing = np.repeat(np.arange(shown.size), shown)  # (visitors,)
    visitor = np.arange(listing.size) - np.repeat(np.cumsum(shown) - shown, shown)
    buys = _uniform(keys[listing], visitor) < demand[listing]
    return np.bincount(listing[buys], minlength=shown.size)


def _uniform(keys: npt.NDArray[np.uint64], counter: npt.NDArray[Any]) -> Floats:
    """The `counter`-th number in [0, 1) of the SplitMix64 sequence that starts at each key.

    A generator proper cannot be asked for its j-th number in one array operation. Steele, Lea and
    Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 17 (mix64).
    """
    z = keys + (counter.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    uniform: Floats = (z >> np.uint64(11)) * 2.0**-53
    return uniform
