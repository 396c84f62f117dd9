"""What a competitor's price does to sales, and what it is worth to be told of it.

Run: python benchmarks/competitors.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only wall]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded. Each has one
competitor, who sets a price around what buyers think it worth (log deviation 0.15) and another one
on one day in ten. Share of the gain of one who knows the buyers, over all days and over the last
ten, of `pricebandit` told of the competitor's price, and not told. Texts are read by their words,
for speed. Half a minute for each scenario and seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from small_shop import parts_of, shares_of, show

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Today
from evaluation.stage import Stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Season

MOVES, SPREAD = 0.1, 0.15
_EQUAL = 1e-9  # log units

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Answer = Callable[[Floats], Floats]
"""Share of the buyers who stay, by log(price / competitor's price)."""


def _wall(left: float) -> Answer:
    return lambda over: np.where(over > _EQUAL, left, 1.0)


SCENARIOS: dict[str, Answer] = {
    "nobody minds": np.ones_like,
    "a wall: a tenth stay above it": _wall(0.1),
    "half stay above it": _wall(0.5),
    "they leave by and by": lambda over: 2.0 / (1.0 + np.exp(6.0 * over)),
}


class Rivalled(Season):
    """A season of listings with a competitor each, to whom buyers go as `answer` says."""

    def __init__(
        self,
        answer: Answer,
        seed: int,
        buyers: Buyers,
        conditions: Conditions,
        calendar: Calendar,
        first: Ints,
    ) -> None:
        self._answer, self._chance = answer, np.random.default_rng((seed, 97))
        super().__init__(buyers, conditions, calendar=calendar, first_date=first)

    def _dawn(self) -> None:
        super()._dawn()
        n = len(self.buyers)
        drawn = self.today.value * np.exp(SPREAD * self._chance.standard_normal(n))
        moves = self._chance.random(n) < MOVES
        self.rival = np.where(moves | np.isnan(self.rival), drawn.round(2), self.rival)

    def demand(self, prices: Floats) -> Floats:
        """As without a competitor, less those who go to him."""
        rival = self.rival.reshape(-1, *[1] * (prices.ndim - 1))
        with np.errstate(divide="ignore"):
            over = np.log(prices / rival)
        return np.minimum(super().demand(prices) * self._answer(over), 1.0)

    def best_prices(self) -> Floats:
        """The best by a search, or the competitor's own price where that is better."""
        found = super().best_prices()
        return np.where(self.gain(self.rival) > self.gain(found), self.rival, found)


@dataclass(frozen=True, slots=True, eq=False)
class RivalledStage(Stage):
    """A stage whose seasons are `Rivalled`."""

    answer: Answer

    def season(self, rows: Ints, conditions: Conditions) -> Season:
        """A season of some of the listings, costs known."""
        first = self.calendar.arrival[rows]
        buyers = self.buyers.take(rows)
        return Rivalled(self.answer, self.seed, buyers, conditions, self.calendar, first)


class Untold(PriceBandit):
    """The policy, told nothing of competitors."""

    def price(self, today: Today) -> Floats:
        """As `PriceBandit`."""
        return super().price(replace(today, rival=np.full(len(today.rows), np.nan)))


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last ten's, told and not told."""
    here = RivalledStage(**parts_of(history, days, seed), answer=SCENARIOS[name])
    return [shares_of(hold(here, maker)) for maker in (PriceBandit, Untold)]


if __name__ == "__main__":
    head = f"{'':33} {'told, by seed':>24} {'not told':>24}   (each seed: all days, last ten)"
    show(__doc__, head, SCENARIOS, shares, (33, 24), fewest=20)
