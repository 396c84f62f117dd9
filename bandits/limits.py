"""Limits: the interval of prices that no decision may leave."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GUARDRAILS = (
    "cost_floor",
    "min_price",
    "minimum_advertised_price",
    "max_price",
    "max_step",
    "price_ending",
    "family",
    "reference_range",
)
"""Names of the guardrails, in the order of the columns of every guardrail array."""

UNLIMITED = np.int64(2**62)
"""Bound of a guardrail, in minor units, that bounds nothing from above."""

REFERENCE_RANGE = 1000.0
"""Times the reference price, or its part, that a price may reach, the seller's own limits aside.

Sales that do not answer to prices, as tests and robots make them, lead upwards without an end; a
reference price in pence instead of pounds must not keep a listing from its own."""

COST_RANGE = 1e6
"""Times the unit cost that a price may reach where it alone is known: downloads cost next to
nothing, whatever they sell for."""

DEAREST = 1e12
"""Currency units that no price is above: it must be told and logged to the minor unit."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Allowed prices, one row per listing: `offset + j * step` within `lower`..`upper`.

    Attributes:
        lower: lowest allowed price, minor units, int64 (n,).
        upper: highest allowed price, minor units, int64 (n,); below `lower` where nothing is.
        step: distance between allowed prices, minor units, int64 (n,).
        offset: remainder of every allowed price modulo `step`, minor units, int64 (n,).
        floors: bound of each lower guardrail, minor units, int64 (n, 8); 0 where it is not set.
        ceilings: bound of each upper guardrail, minor units, int64 (n, 8); UNLIMITED if not set.
    """

    lower: NDArray[np.int64]
    upper: NDArray[np.int64]
    step: NDArray[np.int64]
    offset: NDArray[np.int64]
    floors: NDArray[np.int64]
    ceilings: NDArray[np.int64]

    @property
    def feasible(self) -> NDArray[np.bool_]:
        """Rows with at least one allowed price, bool (n,)."""
        return np.asarray(self.lower <= self.upper)

    def round(self, prices: NDArray[np.float64]) -> NDArray[np.int64]:
        """Nearest allowed price to each of `prices` (minor units, (n, k)), int64 (n, k)."""
        step, offset = self.step[:, None], self.offset[:, None]
        nearest = np.rint((prices - offset) / step).astype(np.int64) * step + offset
        return np.asarray(np.clip(nearest, self.lower[:, None], self.upper[:, None]), np.int64)


def _slack(minor: NDArray[np.float64]) -> NDArray[np.float64]:
    # 19.99 * 100 is 1998.9999…: a bound may not move because binary floats cannot hold it
    return np.asarray(1e-6 + 2 * np.finfo(np.float64).eps * np.abs(minor))


def _minor(price: NDArray[np.float64], per_major: NDArray[np.int64]) -> NDArray[np.float64]:
    # no more than an integer holds: beyond it a floor would be lost, and a ceiling allow nothing
    return np.asarray(np.minimum(np.nan_to_num(price), UNLIMITED / per_major) * per_major)


def _ceil_minor(price: NDArray[np.float64], per_major: NDArray[np.int64]) -> NDArray[np.int64]:
    minor = _minor(price, per_major)
    return np.asarray(np.ceil(minor - _slack(minor)), np.int64)


def _floor_minor(price: NDArray[np.float64], per_major: NDArray[np.int64]) -> NDArray[np.int64]:
    minor = _minor(price, per_major)
    bound = np.floor(minor + _slack(minor)).astype(np.int64)
    return np.asarray(np.where(np.isnan(price), UNLIMITED, bound), np.int64)


def limits(
    per_major: NDArray[np.int64],
    *,
    unit_cost: NDArray[np.float64] | None = None,
    min_price: NDArray[np.float64] | None = None,
    max_price: NDArray[np.float64] | None = None,
    minimum_advertised_price: NDArray[np.float64] | None = None,
    current_price: NDArray[np.float64] | None = None,
    max_step: NDArray[np.float64] | None = None,
    price_ending: NDArray[np.float64] | None = None,
    sensible: NDArray[np.float64] | None = None,
) -> Limits:
    """Limits from the seller's rules; every argument is (n,), NaN where unknown, None if nowhere.

    Args:
        per_major: minor units per currency unit, int64.
        unit_cost, min_price, max_price, minimum_advertised_price, current_price: currency units.
        max_step: largest relative change against `current_price`, e.g. 0.1.
        price_ending: the part of a price after whole currency units, e.g. 0.99.
        sensible: as `reference_range` has it, (2, n); it gives way to all other rules.
    """
    n = len(per_major)
    rules = (
        unit_cost,
        min_price,
        max_price,
        minimum_advertised_price,
        current_price,
        max_step,
        price_ending,
    )
    (
        unit_cost,
        min_price,
        max_price,
        minimum_advertised_price,
        current_price,
        max_step,
        price_ending,
    ) = (np.full(n, np.nan) if rule is None else rule for rule in rules)
    floors = np.zeros((n, len(GUARDRAILS)), np.int64)
    ceilings = np.full((n, len(GUARDRAILS)), UNLIMITED)
    column = GUARDRAILS.index
    floors[:, column("cost_floor")] = _ceil_minor(unit_cost, per_major)
    floors[:, column("min_price")] = _ceil_minor(min_price, per_major)
    floors[:, column("minimum_advertised_price")] = _ceil_minor(minimum_advertised_price, per_major)
    ceilings[:, column("max_price")] = _floor_minor(max_price, per_major)
    stepped = ~np.isnan(current_price) & ~np.isnan(max_step)
    change = np.where(stepped, max_step, 0.0)
    down, up = current_price * (1 - change), current_price * (1 + change)
    floors[:, column("max_step")] = np.where(stepped, _ceil_minor(down, per_major), 0)
    ceilings[:, column("max_step")] = np.where(stepped, _floor_minor(up, per_major), UNLIMITED)

    ended = ~np.isnan(price_ending)
    step = np.where(ended, per_major, 1)
    offset = np.where(ended, np.rint(np.nan_to_num(price_ending) * per_major), 0).astype(np.int64)
    # a price is at least one minor unit: an article given away is not a pricing decision
    least = next_up(np.maximum(floors.max(1), 1), step, offset)
    most = next_down(ceilings.min(1), step, offset)
    # what the reference price says leaves a price that the seller's own limits allow
    far = column("reference_range")
    below, above = np.full((2, n), np.nan) if sensible is None else sensible
    above = np.fmin(above, DEAREST)
    floors[:, far] = np.minimum(_ceil_minor(below, per_major), np.maximum(most, 0))
    ceilings[:, far] = np.maximum(_floor_minor(above, per_major), least)
    lower = next_up(np.maximum(floors.max(1), 1), step, offset)
    upper = next_down(ceilings.min(1), step, offset)
    return Limits(lower, upper, step, offset, floors, ceilings)


def reference_range(
    reference_price: NDArray[np.float64], unit_cost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The lowest and the highest price that what is known of listings makes sense of, currency
    units, (2, n), NaN where nothing is known.

    Args:
        reference_price, unit_cost: currency units, (n,), NaN where unknown.
    """
    by_cost = np.where(np.isnan(reference_price), COST_RANGE, REFERENCE_RANGE) * unit_cost
    above = np.fmax(REFERENCE_RANGE * reference_price, by_cost)
    return np.stack([reference_price / REFERENCE_RANGE, np.where(above > 0, above, np.nan)])


def next_up(
    price: NDArray[np.int64], step: NDArray[np.int64], offset: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The next price up that ends as it must."""
    return -((offset - price) // step) * step + offset


def next_down(
    price: NDArray[np.int64], step: NDArray[np.int64], offset: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The next price down that ends as it must."""
    return (price - offset) // step * step + offset
