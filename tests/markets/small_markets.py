"""Buyers and histories small enough to work out by hand."""

import numpy as np
from small_histories import history_of

from markets import FAMILIES, Buyers, History, chance

WORDS = ("red", "blue", "oak", "tin", "wool", "glass", "paper", "stone")


def buyers_of(
    n: int = 1,
    family: str = "exponential",
    *,
    value: float = 10.0,
    cost: float = 4.0,
    elasticity: float = -2.0,
    conversion: float = 0.1,
    choke: float = 2.5,
    shown: float = 100.0,
    seed: int = 0,
) -> Buyers:
    """n listings that differ in their days alone."""
    ones = np.ones(n)
    return Buyers(
        unit_cost=cost * ones,
        recorded_price=value * ones,
        value=value * ones,
        elasticity=elasticity * ones,
        family=np.full(n, FAMILIES.index(family)),
        conversion=conversion * ones,
        choke=choke * ones,
        mean_impressions=shown * ones,
        keys=chance.keys(seed, n),
    )


def shop_of(n: int, *, kinds: int = 8, costs: bool = True, counted: bool = True) -> History:
    """n listings of some kinds, each with words, a price level and a category of its own."""
    listings: list[dict[str, object]] = []
    sales: list[tuple[str, int, float, int, int | None]] = []
    for i in range(n):
        kind = i % kinds
        price = 5.0 * (1 + kind) * (1 + 0.1 * (i % 3))
        listings.append(
            {
                "listing_id": f"{i:04}",
                "title": f"{WORDS[kind % 8]} {WORDS[(kind * 3 + 1) % 8]} kind{kind} item{i}",
                "family_group": f"f{i // 2}",
                "category": f"c{kind}",
                "unit_cost": price / 2 if costs else None,
            }
        )
        seen = 150 if counted else None
        sales += [(f"{i:04}", day, price, 5 + kind, seen) for day in (1, 15, 28)]
    return history_of(listings, sales)
