"""What every competing policy does: set prices for the day, learn from what is reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from markets import Knowledge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Today:
    """The listings on sale today and what can be seen of their market, one row per listing.

    Attributes:
        day: days since the trial began. rows: their rows in `Knowledge`, int64 (m,).
        date: days since 1970, int64 (m,). days_left: of the season, today included.
        rival: rivals' prices, currency units, (m,), NaN where there are none.
        promotion: bool (m,). stock: units left, int64 (m,), or None where there is no end.
    """

    day: int
    rows: Ints
    date: Ints
    days_left: int
    rival: Floats
    promotion: npt.NDArray[np.bool_]
    stock: Ints | None


@dataclass(frozen=True, slots=True, eq=False)
class Sales:
    """What became known at the end of a day, one row per listing and day of sale.

    Attributes:
        day: the day of sale, int64 (m,). rows: as in `Today`, int64 (m,).
        price: what was charged, currency units, (m,).
        impressions: int64 (m,); 0 where units of an earlier day are reported late.
        units: int64 (m,).
    """

    day: Ints
    rows: Ints
    price: Floats
    impressions: Ints
    units: Ints


class Seller(Protocol):
    """A pricing policy in a trial.

    It is made from what is known (`Knowledge`) and a seed, and sees nothing else. Each day it is
    asked for a price for every listing on sale, and is told afterwards what sold.
    """

    def price(self, today: Today) -> Floats:
        """Prices, currency units, (m,)."""

    def learn(self, sales: Sales) -> None:
        """Take in what became known, before the next day's prices are asked for."""


class Maker(Protocol):
    """How a seller is made."""

    def __call__(self, knowledge: Knowledge, seed: int) -> Seller:
        """A seller that has sold nothing yet."""


def counted_cost(knowledge: Knowledge) -> Floats:
    """Unit costs that count, (n,): zero where none is known, and then revenue is earned."""
    cost: Floats = np.nan_to_num(knowledge.unit_cost)
    return cost


def rungs(knowledge: Knowledge, rows: Ints, arms: Ints) -> Floats:
    """Prices of ladder rungs, (m,)."""
    prices: Floats = knowledge.ladders[rows, arms]
    return prices


def places(rows: Ints, sought: Ints) -> Ints:
    """Where each of `sought`, (m,), stands in `rows`, (n,), which holds it once: int64 (m,)."""
    order = np.argsort(rows)
    found: Ints = order[np.searchsorted(rows, sought, sorter=order)]
    return found
