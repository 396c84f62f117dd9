"""What days that all listings share, or those of a category, cost a seller: with day effects, and
without them.

Run: python benchmarks/busy_days.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only growth]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded; every listing's
conversion is multiplied by what the day is. Share of the gain of one who knows the buyers, over
all days and over the last ten, of `pricebandit` as it is, and as if every day were as all others.
Four categories are groups of titles, told to the seller. Texts are read by their words, for speed.
Half a minute for each scenario and seed.
"""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from small_shop import parts_of, shares_of, show, vectors_of

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.stage import Stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Knowledge, Season

MOST = 0.9  # conversion
KINDS = 4  # categories

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scenarios(days: int, seed: int) -> dict[str, Floats]:
    """What each day is to each category, times the usual, (days, KINDS), by name."""
    t, chance = np.arange(days), np.random.default_rng((seed, 99))
    own = chance.spawn(1)[0]
    week = np.array([-0.3, -0.3, -0.3, -0.3, 0.0, 0.72, 0.48])
    kind = np.arange(KINDS)
    turned = 2 * np.pi * (t[:, None] / 40 + kind / KINDS)
    walks = np.cumsum(0.15 * own.standard_normal((days, KINDS)), axis=0)
    of_all = {
        "days are alike": np.ones(days),
        "growth of 3 % a day": np.exp(0.03 * t),
        "growth of 1 % a day": np.exp(0.01 * t),
        "four days of twice the demand": np.where((t >= 10) & (t < 14), 2.0, 1.0),
        "weekly, by 40 %": np.exp(week[t % 7]),
        "at random, by 40 %": np.exp(0.4 * chance.standard_normal(days)),
    }
    of_categories = {
        "categories, seasons out of step": np.exp(np.log(2.5) * np.sin(turned)),
        "categories, one grows by 3 %": np.exp(t[:, None] * np.where(kind == 0, 0.03, -0.01)),
        "categories, walks at random": np.exp(np.clip(walks, -np.log(2.5), np.log(2.5))),
        "categories, ten times, a day": np.where((t[:, None] == 12) & (kind == 0), 10.0, 1.0),
    }
    return {name: np.tile(one[:, None], KINDS) for name, one in of_all.items()} | of_categories


class Shared(Season):
    """A season whose days are to listings what `effect` says, (days, n)."""

    def __init__(
        self,
        effect: Floats,
        buyers: Buyers,
        conditions: Conditions,
        calendar: Calendar,
        first: Ints,
    ) -> None:
        self._effect = effect  # before its first dawn
        super().__init__(buyers, conditions, calendar=calendar, first_date=first)

    def _dawn(self) -> None:
        super()._dawn()
        conversion = np.minimum(self.today.conversion * self._effect[self.day], MOST)
        self.today = replace(self.today, conversion=conversion)


@dataclass(frozen=True, slots=True, eq=False)
class SharedDays(Stage):
    """A stage whose seasons are `Shared`.

    Attributes:
        effect: as `scenarios` has it. category: of each listing, (n,).
    """

    effect: Floats
    category: Ints

    def season(self, rows: Ints, conditions: Conditions) -> Season:
        """A season of some of the listings, costs known."""
        first = self.calendar.arrival[rows]
        effect = self.effect[:, self.category[rows]]
        return Shared(effect, self.buyers.take(rows), conditions, self.calendar, first)


class Alike(PriceBandit):
    """The policy, taking every day for as all others."""

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        super().__init__(knowledge, seed)
        days = self._policy.days
        days.add = lambda *told: None  # type: ignore[method-assign]
        days.shown = lambda listing, *told: np.ones(len(listing))  # type: ignore[method-assign]


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last ten's, with and without."""
    kinds = KMeans(KINDS, random_state=0, n_init=3).fit_predict(vectors_of(history))
    category = kinds.astype(np.int64)
    effect = scenarios(days, seed)[name]
    here = SharedDays(**parts_of(history, days, seed), effect=effect, category=category)
    makers = partial(PriceBandit, category=category), Alike
    return [shares_of(hold(here, maker)) for maker in makers]


if __name__ == "__main__":
    head = (
        f"{'':33} {'as it is, by seed':>24} {'days taken for alike':>24}"
        "   (each seed: all days, last ten)"
    )
    show(__doc__, head, scenarios(20, 1), shares, (33, 24), fewest=20)
