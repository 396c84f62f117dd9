"""What it costs to take the silence of listings that are sold out for buyers who do not buy.

Run: python benchmarks/sold_out.py ONLINE_RETAIL_FILE [--seeds 3] [--days 40] [--only week]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded. Some have nothing
left for days, in which as many look at them as ever. Share of the gain of one who knows the buyers,
over all days and over the last fifteen, with `inventory` told and without. Texts are read by their
words, for speed. Half a minute for each scenario and seed.
"""

from dataclasses import replace

import numpy as np
from moving_demand import MovingStage
from numpy.typing import NDArray
from small_shop import parts_of, shares_of, show, vectors_of

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Today
from evaluation.trial import hold
from markets import History

AMPLE = 1_000_000  # units, where stock has no end
NOBODY = 1e-9  # times the usual demand: a market's may not be 0

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


def scenarios(days: int, n: int, seed: int) -> dict[str, Flags]:
    """Listings with nothing left, by day, bool (days, n), by name."""
    t, chance = np.arange(days)[:, None], np.random.default_rng((seed, 97))
    third, start = chance.random(n) < 1 / 3, chance.integers(8, days - 15, n)
    return {
        "always enough": np.zeros((days, n), np.bool_),
        "a third for a week, each its own": third & (t >= start) & (t < start + 7),
        "a third for ten days, all at once": third & (t >= days - 25) & (t < days - 15),
        "each on one day in five": chance.random((days, n)) < 0.2,
    }


def told_of(gone: Flags) -> type[PriceBandit]:
    """The seller, told each day what has nothing left."""

    class Told(PriceBandit):
        def price(self, today: Today) -> Floats:
            left = np.where(gone[today.day, today.rows], 0, AMPLE)
            return super().price(replace(today, stock=left))

    return Told


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last fifteen's, told and not."""
    n = len(vectors_of(history))
    gone = scenarios(days, n, seed)[name]
    conversion, value = np.where(gone, NOBODY, 1.0), np.ones((days, n))
    here = MovingStage(**parts_of(history, days, seed), conversion=conversion, value=value)
    makers = told_of(gone), PriceBandit
    return [shares_of(hold(here, maker), last=15) for maker in makers]


if __name__ == "__main__":
    head = f"{'':36} {'inventory told, by seed':>36} {'not told':>36}   (all days, last fifteen)"
    show(__doc__, head, scenarios(30, 1, 1), shares, (36, 36), fewest=30)
