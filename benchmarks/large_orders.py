"""What orders of many units cost a seller: with their sizes learned, and every unit for a buyer.

Run: python benchmarks/large_orders.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only 300]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded; whoever buys takes
an order of some units, and the seller is told units alone. Share of the gain of one who knows the
buyers, over all days and over the first five, and what part of the 90 % intervals hold the demand
after the last day. Texts are read by their words, for speed. Half a minute for each size and seed.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
from busy_days import FIRST
from numpy.typing import NDArray

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Sales, Today
from evaluation.stage import Market, Stage, stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Knowledge, Season, read_online_retail
from markets.texts import text_vectors

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sizes = Callable[[np.random.Generator, Ints], Ints]
"""Units of orders, (m,), of the listings that they are of, (m,)."""

MIXED = np.array([1, 1, 2, 8, 30])


@dataclass(frozen=True, slots=True)
class Orders:
    """How large orders are: drawn sizes, and their mean for each of n listings, (n,)."""

    drawn: Sizes
    mean: Callable[[int], Floats]


def geometric(mean: Callable[[Ints], Floats]) -> Orders:
    """Orders of geometric size, whose mean may depend on the listing."""
    return Orders(
        lambda rng, listing: rng.geometric(1.0 / mean(listing)),
        lambda n: mean(np.arange(n)),
    )


ORDERS = {
    "single units": geometric(lambda listing: np.ones(len(listing))),
    "2 units, geometric": geometric(lambda listing: np.full(len(listing), 2.0)),
    "8 units, geometric": geometric(lambda listing: np.full(len(listing), 8.0)),
    "49 units, log-normal": Orders(
        lambda rng, listing: np.ceil(rng.lognormal(np.log(30), 1.0, len(listing))).astype(np.int64),
        lambda n: np.full(n, 30 * np.exp(0.5) + 0.5),
    ),
    "100 to 500 units": Orders(
        lambda rng, listing: rng.integers(100, 501, len(listing)),
        lambda n: np.full(n, 300.0),
    ),
    "1 to 30 units, by listing": geometric(lambda listing: MIXED[listing % len(MIXED)] * 1.0),
}


class Wholesale(Season):
    """A season whose buyers take orders."""

    def __init__(
        self,
        orders: Orders,
        rng: np.random.Generator,
        buyers: Buyers,
        conditions: Conditions,
        calendar: Calendar,
        first: Ints,
    ) -> None:
        self._orders, self._rng = orders, rng
        super().__init__(buyers, conditions, calendar=calendar, first_date=first)

    def _sold(self, shown: Ints, demand: Floats) -> Ints:
        bought = super()._sold(shown, demand)
        listing = np.repeat(np.arange(len(bought)), bought)
        units = np.bincount(listing, self._orders.drawn(self._rng, listing), len(bought))
        return units.astype(np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class WholesaleStage(Stage):
    """A stage whose seasons are `Wholesale`."""

    orders: Orders

    def season(self, rows: Ints, conditions: Conditions) -> Season:
        """A season of some of the listings, costs known."""
        buyers, first = self.buyers.take(rows), self.calendar.arrival[rows]
        rng = np.random.default_rng((self.seed, 5))
        return Wholesale(self.orders, rng, buyers, conditions, self.calendar, first)


class Kept(PriceBandit):
    """The policy, which can be asked again after the trial."""

    last: PriceBandit

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        super().__init__(knowledge, seed)
        Kept.last = self


class Single(Kept):
    """The policy, taking every unit for a buyer."""

    def learn(self, sales: Sales) -> None:
        """As it is, but for what is learned of orders."""
        super().learn(sales)
        self._policy.population = replace(self._policy.population, order_size=1.0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--only", default="", help="sizes whose names hold this")
    given = parser.parse_args()
    if given.days < 6 or given.seeds < 1:
        parser.error("--days must be at least 6, and --seeds at least 1")
    history = read_online_retail(given.table)
    print(f"{'':27} {'as it is, by seed':>36} {'every unit a buyer':>36}")
    print("per cent of all days, of the first five, of intervals that hold")
    for name in ORDERS:
        if given.only in name:
            rows = [shares(history, given.days, name, seed + 1) for seed in range(given.seeds)]
            columns = [
                "   ".join(" ".join(f"{100 * share:.1f}" for share in one) for one in column)
                for column in zip(*rows, strict=True)
            ]
            print(f"{name:27} {columns[0]:>36} {columns[1]:>36}", flush=True)


def shares(
    history: History, days: int, name: str, seed: int
) -> tuple[tuple[float, float, float], ...]:
    """Share of the clairvoyant's gain over all days and the first five, and of intervals that hold
    in the end, with sizes learned and not."""
    market = Market("cost", known=300, new=200, warm_days=0, conditions=Conditions(days=days))
    plain = stage(history, text_vectors(history.listings["title"].to_list()), market, seed)
    parts = {field.name: getattr(plain, field.name) for field in fields(Stage)}
    arrival = np.full(len(plain.buyers), FIRST)
    parts["calendar"] = replace(plain.calendar, arrival=arrival, month=np.ones(12))
    here = WholesaleStage(**parts, orders=ORDERS[name])
    return tuple(outcome(here, days, maker) for maker in (Kept, Single))


def outcome(here: WholesaleStage, days: int, maker: type[Kept]) -> tuple[float, float, float]:
    """What a seller makes of the stage."""
    result, n = hold(here, maker), here.new.size
    nothing = np.full(n, np.nan)
    after = Today(days, here.new, np.full(n, FIRST + days), 1, nothing, np.zeros(n, np.bool_), None)
    price, low, high = Kept.last.intervals(after)
    truth = here.buyers.take(here.new).units_per_impression(price) * here.orders.mean(n)
    held = float(((low <= truth) & (truth <= high)).mean())
    return result.share, float(result.gain[:5].sum() / result.best[:5].sum()), held


if __name__ == "__main__":
    main()
