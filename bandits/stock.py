"""A finite stock and a last day: what a unit kept is worth, and what each price is then worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNITS = 60
"""Stock is planned in lots, at most this many of them."""

PERIODS = 30
"""The days after today are planned in periods, at most this many of them."""

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
    _check_rates(rate)
    # in blocks, because a table (block, arms, stock) is read again and again
    parts = [
        _solved(p[i : i + _BLOCK], rate[i : i + _BLOCK], alike, days, stock)
        for i in range(0, max(len(p), 1), _BLOCK)
    ]
    arm, value = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Programme(p, arm, value)


def stock_scores(prices: Floats, rates: Floats, days: Ints, stock: Ints) -> Floats:
    """Expected gain from today to the last day if an arm is charged today, (n, k).

    The gain of the units sold today and of the best plan for those left, as in `programme`. Demand
    is uncertain: each of the h hypotheses, equally likely, is followed by its own best plan, and
    the mean of their gains is the score,

        score(p) = mean over h of E[p min(D_h, c) + V_h(tomorrow, c - min(D_h, c))],

    so that a demand that may be high keeps units back although it is low in the mean (Q-MDP:
    Littman, Cassandra and Kaelbling, "Learning policies for partially observable environments",
    ICML 1995, section 4). With h = 1 this is the programme at the estimated rates.

    Up to `UNITS` units and `PERIODS` days after today this is exact. More stock is planned in lots
    and more days in periods of equal length: finer steps change the plan of many units little,
    since for many units it tends to that of a fluid (Gallego and van Ryzin 1994, theorem 3).

    Args:
        prices: gain from a unit at each arm, currency units, (n, k): the price, less what an
            unsold unit is worth after the last day.
        rates: expected units a day at each arm, (n, k), or (n, h, k) under h hypotheses.
        days: left to sell in, today included, at least 1, int64 (n,).
        stock: units left, at least 0, int64 (n,).

    Raises:
        ValueError: shapes that do not fit, a negative rate, no day, or a negative stock.
    """
    worth, _ = _believed(prices, rates, days, stock)
    return worth


def marginal_values(prices: Floats, rates: Floats, days: Ints, stock: Ints) -> Floats:
    """What a unit sold today would have brought later, currency units, (n,).

    V(tomorrow, c) - V(tomorrow, c - 1), mean over hypotheses: the opportunity cost to add to a
    unit's cost where a rule prices one unit at a time. Zero without stock or on the last day.

    Args, Raises: as `stock_scores`.
    """
    _, marginal = _believed(prices, rates, days, stock)
    return marginal


def _believed(prices: Floats, rates: Floats, days: Ints, stock: Ints) -> tuple[Floats, Floats]:
    """Scores (n, k) and marginal values (n,), in blocks of rows that take equally long."""
    p, rate = np.asarray(prices, np.float64), np.asarray(rates, np.float64)
    if rate.ndim == 2:
        rate = rate[:, None]
    n, k = p.shape
    if rate.ndim != 3 or (len(rate), rate.shape[2]) != (n, k) or not rate.shape[1]:
        raise ValueError(f"rates must be {(n, k)} or ({n}, hypotheses, {k}): {rates.shape}")
    if days.shape != (n,) or stock.shape != (n,):
        raise ValueError(f"expected {n} days and stocks, not {days.shape} and {stock.shape}")
    if (days < 1).any() or (stock < 0).any():
        raise ValueError("days must be at least 1 and stock at least 0")
    _check_rates(rate)
    worth, marginal = np.zeros((n, k)), np.zeros(n)
    order = np.lexsort((stock, np.rint(rate.max(axis=(1, 2), initial=0.0)), days))
    order = order[stock[order] > 0]
    size = max(_BLOCK // rate.shape[1], 1)
    for start in range(0, order.size, size):
        rows = order[start : start + size]
        worth[rows], marginal[rows] = _block(p[rows], rate[rows], days[rows], stock[rows])
    return worth, marginal


def _block(p: Floats, rate: Floats, days: Ints, stock: Ints) -> tuple[Floats, Floats]:
    """Scores (b, k) and marginal values (b,) of rows with stock."""
    b, h, k = rate.shape
    lot = -(-stock // UNITS)
    units = stock / lot  # lots in stock, whole unless a lot has several units
    most = int(np.ceil(units.max()))
    rate = (rate / lot[:, None, None]).reshape(b * h, k)
    gain = np.repeat(p, h, axis=0)
    periods = np.repeat(np.minimum(days - 1, PERIODS), h)
    length = np.repeat(days - 1, h) / np.maximum(periods, 1)
    period = _Sales.of(gain, rate * length[:, None], most)
    value = np.zeros((b * h, most + 1))
    for gone in range(int(periods.max())):
        value = np.where((periods > gone)[:, None], period.worth(value).max(axis=1), value)
    worth = _Sales.of(gain, rate, most).worth(value).reshape(b, h, k, most + 1).mean(axis=1)
    value = value.reshape(b, h, most + 1).mean(axis=1)
    rows, low = np.arange(b), np.floor(units).astype(np.int64)
    high, part = np.minimum(low + 1, most), (units - low)[:, None]
    score = worth[rows, :, low] * (1.0 - part) + worth[rows, :, high] * part
    return score * lot[:, None], value[rows, low] - value[rows, low - 1]


def _solved(p: Floats, rate: Floats, alike: bool, days: int, stock: int) -> tuple[Ints, Floats]:
    """Best arms and values of a block; `alike`: days have the same rates."""
    value = np.zeros((len(p), days + 1, stock + 1))
    arm = np.zeros((len(p), days, stock + 1), np.int64)
    for day in range(days - 1, -1, -1):
        if day == days - 1 or not alike:
            sales = _Sales.of(p, rate[:, day], stock)
        worth = sales.worth(value[:, day + 1])
        arm[:, day] = worth.argmax(axis=1)
        value[:, day] = worth.max(axis=1)
    return arm, value


@dataclass(frozen=True, slots=True, eq=False)
class _Sales:
    """What a day sells: `gain` expected at each arm with each stock, (n, k, stock + 1), and `mass`,
    P(D = j) for the j that may be sold, (n, k, j).
    """

    gain: Floats
    mass: Floats

    @classmethod
    def of(cls, p: Floats, rate: Floats, stock: int) -> _Sales:
        """Sales at prices and rates (n, k) from at most `stock` units."""
        highest = float(rate.max(initial=0.0))
        # more is demanded less than once in 10^12 days
        j = np.arange(min(stock, int(highest + 7.0 * highest**0.5) + 9) + 1)
        mass = np.exp(xlogy(j, rate[:, :, None]) - rate[:, :, None] - gammaln(j + 1.0))
        tail = np.maximum(1.0 - (np.cumsum(mass, axis=2) - mass), 0.0)  # P(D >= j)
        # E[min(D, c)] = sum of P(D >= j) over j = 1 ... c
        sold = np.cumsum(tail, axis=2) - tail[:, :, :1]
        return cls(p[:, :, None] * sold[:, :, np.minimum(np.arange(stock + 1), j[-1])], mass)

    def worth(self, later: Floats) -> Floats:
        """Expected gain at each arm with each stock, (n, k, stock + 1), given that of tomorrow."""
        left, sold = np.arange(later.shape[1]), np.arange(self.mass.shape[2])
        after = np.maximum(left - sold[:, None], 0)  # (sold, left): stock after a sale
        # later[:, 0] is 0: what is sold out is worth nothing, and so is P(D = j) from j = c on
        worth: Floats = self.mass @ later.take(after, axis=1)  # (n, k, sold) (n, sold, left)
        worth += self.gain
        return worth


def _check_rates(rate: Floats) -> None:
    if not (np.isfinite(rate) & (rate >= 0.0)).all():
        raise ValueError("rates must be finite and at least 0")
