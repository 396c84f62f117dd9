"""What demand that moves by itself, listing by listing, costs a seller: with recent sales of a
level of their own and prices beside what all listings are worth, as if levels stayed, and as if
worths did.

Run: python benchmarks/moving_demand.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only walk]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded. From some day on
buyers of some listings, or of all, convert more often or less, or think them worth more or less.
Share of the gain of one who knows the buyers, over all days and over the last ten. Texts are read
by their words, for speed. Half a minute for each scenario and seed.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from small_shop import parts_of, shares_of, show, vectors_of

from bandits import evidence, shifts
from evaluation.sellers.pricebandit import PriceBandit
from evaluation.stage import Stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Season

TURN = 15  # day on which what changes at once does
FAR = float(np.log(2.5))  # log units that levels go up or down by, at most

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scenarios(days: int, n: int, seed: int) -> dict[str, tuple[Floats, Floats]]:
    """By what conversion and value are multiplied each day, (days, n) each, by name."""
    t, chance = np.arange(days)[:, None], np.random.default_rng((seed, 98))
    third, half, up = chance.random((3, n)) < [[1 / 3], [1 / 2], [1 / 2]]
    start = chance.integers(5, 25, n)
    walks = np.cumsum(0.1 * chance.standard_normal((days, n)), axis=0)
    moved = np.where(up, FAR, -FAR) * half * np.clip((t - start) / 5, 0.0, 1.0)
    stays, after = np.ones((days, n)), np.broadcast_to(t >= TURN, (days, n))
    turned, ten = after & third, after & (t < TURN + 10)
    return {
        "nothing moves": (stays, stays),
        "half up or down by 2.5 in five days": (np.exp(moved), stays),
        "each walks by 10 % a day": (np.exp(np.clip(walks, -FAR, FAR)), stays),
        "a third sells a fifth from day 15 on": (np.where(turned, 0.2, 1.0), stays),
        "a third is worth 0.55 as much": (stays, np.where(turned, 0.55, 1.0)),
        "a third is worth 1.8 as much": (stays, np.where(turned, 1.8, 1.0)),
        "all are worth 0.65 as much": (stays, np.where(after, 0.65, 1.0)),
        "all are worth 0.65 as much for ten days": (stays, np.where(ten, 0.65, 1.0)),
        "all are worth 1.6 as much": (stays, np.where(after, 1.6, 1.0)),
        "all are worth 1 % less each day": (stays, 0.99**t * stays),
        "all sell a third from day 15 on": (np.where(after, 1 / 3, 1.0), stays),
    }


class Moving(Season):
    """A season whose conversion and value are multiplied, (days, n) each."""

    def __init__(
        self,
        conversion: Floats,
        value: Floats,
        buyers: Buyers,
        conditions: Conditions,
        calendar: Calendar,
        first: Ints,
    ) -> None:
        self._conversion, self._value = conversion, value  # before its first dawn
        super().__init__(buyers, conditions, calendar=calendar, first_date=first)

    def _dawn(self) -> None:
        super()._dawn()
        conversion = np.minimum(self.today.conversion * self._conversion[self.day], 0.9)
        value = self.today.value * self._value[self.day]
        self.today = replace(self.today, conversion=conversion, value=value)


@dataclass(frozen=True, slots=True, eq=False)
class MovingStage(Stage):
    """A stage whose seasons are `Moving`; `conversion` and `value` of all listings."""

    conversion: Floats
    value: Floats

    def season(self, rows: Ints, conditions: Conditions) -> Season:
        """A season of some of the listings, costs known."""
        factors = self.conversion[:, rows], self.value[:, rows]
        first = self.calendar.arrival[rows]
        return Moving(*factors, self.buyers.take(rows), conditions, self.calendar, first)


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last ten's, of each way."""
    conversion, value = scenarios(days, len(vectors_of(history)), seed)[name]
    here = MovingStage(**parts_of(history, days, seed), conversion=conversion, value=value)
    found = []
    levels_stay = patch.object(evidence, "LEVEL_DRIFT", 0.0)
    worths_stay = patch.object(shifts, "LIKELY", np.inf)
    for way in (nullcontext(), levels_stay, worths_stay):
        with way:
            found.append(shares_of(hold(here, PriceBandit)))
    return found


if __name__ == "__main__":
    head = (
        f"{'':40} {'as it is, by seed':>24} {'levels taken to stay':>24}"
        f" {'worths taken to stay':>24}   (each seed: all days, last ten)"
    )
    show(__doc__, head, scenarios(20, 1, 1), shares, (40, 24), fewest=25)
