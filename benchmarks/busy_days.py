"""What days that all listings share, or those of a category, cost a seller: with day effects, and
without them.

Run: python benchmarks/busy_days.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only growth]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded; every listing's
conversion is multiplied by what the day is. Share of the gain of one who knows the buyers, over
all days and over the last ten, of `pricebandit` as it is, and as if every day were as all others.
Four categories are groups of titles, told to the seller. Texts are read by their words, for speed.
Half a minute for each scenario and seed.
"""

import argparse
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.stage import Market, Stage, stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Knowledge, Season, read_online_retail
from markets.texts import text_vectors

FIRST = 20_000  # days since 1970, a Friday
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


def shared(plain: Stage, effect: Floats, category: Ints) -> SharedDays:
    """A stage on which every listing begins on one day, and days are what `effect` says."""
    parts = {field.name: getattr(plain, field.name) for field in fields(Stage)}
    arrival = np.full(len(plain.buyers), FIRST)
    parts["calendar"] = replace(plain.calendar, arrival=arrival, month=np.ones(12))
    return SharedDays(**parts, effect=effect, category=category)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--only", default="", help="scenarios whose names hold this")
    given = parser.parse_args()
    if given.days < 20 or given.seeds < 1:
        parser.error("--days must be at least 20, and --seeds at least 1")
    history = read_online_retail(given.table)
    print(f"{'':31} {'as it is, by seed':>24} {'days taken for alike':>24}   (all days, last ten)")
    for name in scenarios(given.days, 1):
        if given.only in name:
            rows = [shares(history, given.days, name, seed + 1) for seed in range(given.seeds)]
            columns = [
                "  ".join(f"{100 * all_days:.1f} {100 * last:.1f}" for all_days, last in column)
                for column in zip(*rows, strict=True)
            ]
            print(f"{name:31} {columns[0]:>24} {columns[1]:>24}", flush=True)


def shares(
    history: History, days: int, name: str, seed: int
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Shares of the clairvoyant's gain, all days' and the last ten's, with and without."""
    market = Market("cost", known=300, new=200, warm_days=0, conditions=Conditions(days=days))
    vectors = text_vectors(history.listings["title"].to_list())
    category = KMeans(KINDS, random_state=0, n_init=3).fit_predict(vectors).astype(np.int64)
    here = shared(stage(history, vectors, market, seed), scenarios(days, seed)[name], category)
    found = [hold(here, maker) for maker in (partial(PriceBandit, category=category), Alike)]
    with_them, without = ((r.share, r.gain[-10:].sum() / r.best[-10:].sum()) for r in found)
    return with_them, without


if __name__ == "__main__":
    main()
