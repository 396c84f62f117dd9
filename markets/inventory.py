"""The clairvoyant with a finite stock: an exact dynamic programme over stock and days left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln, xlogy

from markets.demand import Floats, Ints
from markets.season import Season

_BLOCK = 128


@dataclass(frozen=True, slots=True, eq=False)
class Programme:
    """The best price for every day and stock, and what it is worth.

    Attributes:
        prices: arms, currency units, (n, k).
        arm: best arm with c units left on day t, int64 (n, days, stock + 1).
        value: expected revenue from day t on with c units left, (n, days + 1, stock + 1).
    """

    prices: Floats
    arm: Ints
    value: Floats

    def price(self, day: int, stock: Ints) -> Floats:
        """Prices (n,) for the day with `stock` units left, int64 (n,)."""
        rows = np.arange(len(self.prices))
        charged: Floats = self.prices[rows, self.arm[rows, day, stock]]
        return charged


def programme(prices: Floats, rates: Floats, days: int, stock: int) -> Programme:
    """Solve the sale of at most `stock` units of each of n listings within `days`.

    Each day units are demanded as Poisson with the rate of the price charged, and sold as far as
    the stock goes; what is left in the end is worth nothing, what it cost is spent. Gallego and van
    Ryzin, "Optimal dynamic pricing of inventories with stochastic demand over finite horizons",
    Management Science 1994, equation 2, with days for the continuous clock:

        V(t, c) = max over p of E[p min(D, c) + V(t + 1, c - min(D, c))],  D ~ Poisson(rate(t, p)).

    Args:
        prices: arms, currency units, (n, k).
        rates: expected units a day at each arm, (n, k), or (n, days, k) where days differ.
        days: at least 1. stock: units at the start, at least 0.

    Raises:
        ValueError: shapes that do not fit, a negative rate, no day, or a negative stock.
    """
    p, rate = np.asarray(prices, np.float64), np.asarray(rates, np.float64)
    if days < 1 or stock < 0:
        raise ValueError(f"days must be at least 1 and stock at least 0, not {days} and {stock}")
    alike = rate.shape == p.shape
    if alike:
        rate = np.broadcast_to(rate[:, None], (len(p), days, p.shape[1]))
    if rate.shape != (len(p), days, p.shape[1]):
        raise ValueError(f"rates must be {p.shape} or {(len(p), days, p.shape[1])}: {rate.shape}")
    if not (np.isfinite(rate) & (rate >= 0.0)).all():
        raise ValueError("rates must be finite and at least 0")
    # in blocks, because a table (block, arms, stock) is read again and again
    parts = [
        _solved(p[i : i + _BLOCK], rate[i : i + _BLOCK], alike, days, stock)
        for i in range(0, max(len(p), 1), _BLOCK)
    ]
    arm, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Programme(p, arm, value)


def _solved(p: Floats, rate: Floats, alike: bool, days: int, stock: int) -> tuple[Ints, Floats]:
    """Best arms and values of a block; `alike`: days have the same rates."""
    value = np.zeros((len(p), days + 1, stock + 1))
    arm = np.zeros((len(p), days, stock + 1), np.int64)
    left = np.arange(stock + 1)
    shift = left[None, :] - left[:, None]  # (sold, left): stock after a sale
    for day in range(days - 1, -1, -1):
        if day == days - 1 or not alike:
            mass, tail = _poisson(rate[:, day], stock)  # (n, k, stock + 1) each
        # P(D = j) for j < c, and P(D >= c) in the place of j = c
        after = value[:, day + 1][:, np.maximum(shift, 0)] * (shift > 0)  # (n, sold, left)
        sold_out = tail * value[:, day + 1, :1, None]
        # E[min(D, c)] = sum of P(D >= j) over j = 1 ... c
        expected_sold = np.cumsum(tail, axis=2) - tail[:, :, :1]
        worth = p[:, :, None] * expected_sold + mass @ after + sold_out  # (n, k, stock + 1)
        arm[:, day] = worth.argmax(axis=1)
        value[:, day] = worth.max(axis=1)
    return arm, value


def clairvoyant_programme(season: Season, ladders: Floats) -> Programme:
    """The programme of one who knows the buyers of a season that has stock and no other event.

    Args:
        ladders: arms, currency units, (n, k).

    Raises:
        ValueError: the season has no stock, has begun, or changes from day to day.
    """
    conditions = season.conditions
    if season.stock is None or season.day:
        raise ValueError("expected a season with stock, before its first day")
    events = ("competitors", "promotions", "shocks", "drift", "memory")
    changing = [name for name in events if getattr(conditions, name)]
    if conditions.turn_day is not None:
        changing.append("turn_day")
    if conditions.group > 1:
        changing.append("group")
    if changing:
        raise ValueError(f"the programme is exact without {', '.join(changing)} only")
    mean = np.stack([season.mean_impressions(day) for day in range(conditions.days)], axis=1)
    rates = mean[:, :, None] * season.demand(ladders)[:, None]  # (n, days, k)
    if (mean == mean[:, :1]).all():
        rates = rates[:, 0]
    return programme(ladders, rates, conditions.days, int(season.stock.max(initial=0)))


def _poisson(rate: Floats, most: int) -> tuple[Floats, npt.NDArray[np.float64]]:
    """P(D = j) and P(D >= j), j = 0 ... `most`, of rates (n, k): (n, k, most + 1) each."""
    j = np.arange(most + 1)
    mass = np.exp(xlogy(j, rate[:, :, None]) - rate[:, :, None] - gammaln(j + 1.0))
    before = np.cumsum(mass, axis=2) - mass
    return mass, np.maximum(1.0 - before, 0.0)
