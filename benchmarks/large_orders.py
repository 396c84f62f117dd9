"""What orders of many units cost a seller: with their sizes learned, and every unit for a buyer.

Run: python benchmarks/large_orders.py ONLINE_RETAIL_FILE [--seeds 2] [--days 40] [--only 300]
200 listings nobody has sold, costs known, beside 300 whose prices are recorded; whoever buys takes
an order of some units, and the seller is told units alone. Share of the gain of one who knows the
buyers, over all days and over the first five, and what part of the 90 % intervals hold the demand
after the last day. Texts are read by their words, for speed. Half a minute for each size and seed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from small_shop import FIRST, parts_of, show

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Sales, Today
from evaluation.stage import Stage
from evaluation.trial import hold
from markets import Buyers, Calendar, Conditions, History, Knowledge, Season

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


def shares(history: History, days: int, name: str, seed: int) -> list[tuple[float, float, float]]:
    """Share of the clairvoyant's gain over all days and the first five, and of intervals that hold
    in the end, with sizes learned and not."""
    here = WholesaleStage(**parts_of(history, days, seed), orders=ORDERS[name])
    return [outcome(here, days, maker) for maker in (Kept, Single)]


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
    head = (
        f"{'':27} {'as it is, by seed':>36} {'every unit a buyer':>36}\n"
        "each seed: per cent of all days, of the first five, of intervals that hold"
    )
    show(__doc__, head, ORDERS, shares, (27, 36), fewest=6)
