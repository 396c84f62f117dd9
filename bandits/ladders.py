"""Price ladders: the arms among which one price is drawn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.limits import GUARDRAILS, Limits, next_down

NARROWEST = 0.2
"""Log width of a ladder that the limits leave room for, so that there is always a choice."""


@dataclass(frozen=True, slots=True)
class Ladders:
    """Arms, one row per listing.

    Attributes:
        prices: minor units, int64 (n, k), rising; repeats stand where `allowed` is False.
        allowed: bool (n, k); arms that can be drawn.
        guardrails: bool (n, 8), columns as GUARDRAILS; those that changed the row's ladder.
    """

    prices: NDArray[np.int64]
    allowed: NDArray[np.bool_]
    guardrails: NDArray[np.bool_]


def geometric_ladders(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    limits: Limits,
    arms: int,
) -> Ladders:
    """`arms` prices in equal ratios from `low` to `high`, moved inside the limits and rounded.

    Args:
        low, high: wished ends, minor units, float64 (n,), low <= high.
        limits: feasible in every row.
        arms: k; rows whose allowed prices are fewer get fewer arms.
    """
    feasible_low = np.clip(low, limits.lower, limits.upper)
    feasible_high = np.clip(high, limits.lower, limits.upper)
    # where limits squeeze the wished range to a point, open it again inside them
    middle = np.sqrt(feasible_low * feasible_high)
    squeezed = feasible_high < feasible_low * np.exp(NARROWEST)
    widest = np.exp(NARROWEST)
    low_end = np.where(squeezed, np.maximum(middle / widest, limits.lower), feasible_low)
    high_end = np.where(squeezed, np.minimum(middle * widest, limits.upper), feasible_high)
    ratio = np.log(high_end / low_end)[:, None]
    wished = low_end[:, None] * np.exp(ratio * np.linspace(0.0, 1.0, arms))
    prices = limits.round(wished)  # (n, k)
    if arms > 1:
        # endings far apart may round all arms to one: the next price up, or down, is a choice
        alone = prices[:, 0] == prices[:, -1]
        prices[alone, -1] = np.minimum(prices[:, -1] + limits.step, limits.upper)[alone]
        alone = prices[:, 0] == prices[:, -1]
        prices[alone, 0] = np.maximum(prices[:, 0] - limits.step, limits.lower)[alone]
    allowed = np.ones(prices.shape, np.bool_)
    allowed[:, 1:] = np.diff(prices, axis=1) > 0
    # what is opened beside one limit may be cut by another
    moved = (limits.floors.max(1) > low) | (limits.ceilings.min(1) < high)
    beside = squeezed & moved
    low = np.where(beside, np.minimum(low, middle / widest), low)
    high = np.where(beside, np.maximum(high, middle * widest), high)
    return Ladders(prices, allowed, _changed_by(low, high, limits))


def with_arm_below(ladders: Ladders, limits: Limits, price: NDArray[np.float64]) -> Ladders:
    """Ladders with the highest allowed price up to a given one among their arms, in place of the
    nearest; rows whose ladder does not reach there, or has it anyway, stay.

    Args:
        price: minor units, float64 (n,); NaN for none.
    """
    floor = np.floor(np.nan_to_num(price) + 1e-6).astype(np.int64)
    wanted = next_down(floor, limits.step, limits.offset)[:, None]
    prices = ladders.prices
    inside = (prices[:, :1] <= wanted) & (wanted <= prices[:, -1:])
    rows = np.flatnonzero(inside[:, 0])
    if not rows.size:
        return ladders
    prices, mine, wanted = prices.copy(), prices[rows], wanted[rows]
    nearest = np.abs(np.log(mine / wanted)).argmin(1)[:, None]
    # with its repeats: of prices far apart many arms are rounded to one
    replaced = mine == np.take_along_axis(mine, nearest, 1)
    prices[rows] = np.where(replaced, wanted, mine)
    return Ladders(prices, ladders.allowed, ladders.guardrails)


def _changed_by(
    low: NDArray[np.float64], high: NDArray[np.float64], limits: Limits
) -> NDArray[np.bool_]:
    """Guardrails that bind inside the wished range, or rounded the arms; bool (n, 8)."""
    cut_below = (limits.floors == limits.floors.max(1, keepdims=True)) & (
        limits.floors > low[:, None]
    )
    cut_above = (limits.ceilings == limits.ceilings.min(1, keepdims=True)) & (
        limits.ceilings < high[:, None]
    )
    changed = cut_below | cut_above
    changed[:, GUARDRAILS.index("price_ending")] = limits.step > 1
    return np.asarray(changed)
