"""The clairvoyant with a finite stock: an exact dynamic programme over stock and days left."""

from __future__ import annotations

import numpy as np

from bandits.stock import Programme, programme
from markets.demand import Floats
from markets.season import Season


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
