"""This project's own policy: demand curves from own sales and text, a linear-UCB head on top."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bandits import Context, Listings, Outcomes, Policy, Rules, Stock, limits
from bandits.guesses import MARKUP
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, counted_cost, places
from evaluation.sellers.traffic import Traffic
from markets import Knowledge

_MINOR = 100
_DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class _Decided:
    """Decisions of a day, one row per listing, and what was told of them so far.

    Attributes:
        told: as `Policy.learn` takes it, (m, 4). The others: as in `Outcomes`.
    """

    rows: Ints
    curve_sd: Floats
    features: npt.NDArray[np.float32]
    at: Ints
    passing: Floats
    day: Floats
    elasticity: Floats
    worth: Floats
    stock: Floats
    expected: Floats
    told: Floats


class PriceBandit:
    """`bandits.Policy`, with prices in hundredths of a currency unit.

    Args:
        category: codes of listings' categories, -1 without one, int64 (n,); none unless given.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        seed: int,
        rules: Rules | None = None,
        category: Ints | None = None,
    ) -> None:
        self._knowledge, self._policy = knowledge, Policy(rules)
        self._stream = np.random.default_rng(seed)
        self._days = 0
        self._traffic = Traffic(len(knowledge.guess))
        self._cost = counted_cost(knowledge)
        nowhere = np.full(len(knowledge.guess), -1)
        self._category = nowhere if category is None else category
        self._policy.expect(_usual_markup(knowledge))
        self._waiting: dict[int, _Decided] = {}

    def price(self, today: Today) -> Floats:
        """Draw prices; what was decided is kept until its sales are reported."""
        listings = self._listings(today)
        ids = self._stream.integers(0, 1 << 64, (today.rows.size, 2), np.uint64)
        decided = self._policy.decide(listings, ids)
        estimates = decided.estimates.take(decided.arm)
        self._waiting[today.day] = _Decided(
            today.rows,
            estimates.curve_sd,
            decided.features,
            listings.context.at,
            decided.passing,
            decided.day,
            decided.elasticity,
            decided.worth,
            np.full(today.rows.size, np.nan) if listings.stock is None else listings.stock.units,
            estimates.mean,
            np.zeros((today.rows.size, 4)),
        )
        prices: Floats = decided.price / _MINOR
        return prices

    def intervals(self, today: Today) -> tuple[Floats, Floats, Floats]:
        """Best price by estimate, and the 90 % interval of demand there, (m,) each."""
        nothing = np.zeros((today.rows.size, 2), np.uint64)
        decided = self._policy.decide(self._listings(today), nothing, explore=False)
        return decided.price / _MINOR, decided.low, decided.high

    def learn(self, sales: Sales) -> None:
        """Fold the sales in, and now and then learn the catalogue's parameters anew."""
        policy = self._policy
        self._traffic.add(sales)
        for day in np.unique(sales.day).tolist():
            decided, of_day = self._waiting[day], np.flatnonzero(sales.day == day)
            sold = sales.rows[of_day]
            place = places(decided.rows, sold)
            units = sales.units[of_day].astype(np.float64)
            price = sales.price[of_day]
            outcomes = Outcomes(
                sold,
                self._knowledge.guess[sold],
                price,
                sales.impressions[of_day].astype(np.float64),
                units,
                units * (price - self._cost[sold]),
                decided.curve_sd[place],
                decided.features[place],
                decided.at[place],
                decided.passing[place],
                decided.day[place],
                np.ones(place.size),
                self._category[sold],
                decided.elasticity[place],
                decided.worth[place],
                np.zeros(place.size),
                decided.stock[place],
                decided.expected[place],
                np.zeros(place.size),
            )
            before = decided.told[place]
            outcomes = policy.dated(outcomes, before)
            policy.learn(outcomes, before)
            shown = outcomes.impressions
            decided.told[place, :3] += np.stack([shown, units, shown * outcomes.day], axis=1)
        self._days += 1
        if self._days <= 3 or self._days % 4 == 0:
            asked = policy.consulted()
            policy.learn_population(asked, self._knowledge.guess[asked], self._context(asked, None))

    def _listings(self, today: Today) -> Listings:
        known, rows = self._knowledge, today.rows
        n = rows.size
        per_major = np.full(n, _MINOR)
        bounds = limits(per_major, unit_cost=known.unit_cost[rows])
        context = self._context(rows, today)
        stock = self._stock(today) if today.stock is not None else None
        return Listings(
            rows,
            known.guess[rows],
            per_major,
            bounds,
            np.arange(n),
            context,
            stock=stock,
            impressions=self._traffic.mean(rows),
        )

    def _stock(self, today: Today) -> Stock:
        """Stock and days left, and impressions a day as far as they are known."""
        assert today.stock is not None
        left = np.full(today.rows.size, max(today.days_left, 1))
        shape, rate = self._traffic.belief(today.rows)
        return Stock(today.stock.astype(np.float64), left, shape / rate, shape)

    def _context(self, rows: Ints, today: Today | None) -> Context:
        """What is known of listings, and of their market today."""
        known, n = self._knowledge, rows.size
        return Context(
            known.vectors[rows],
            np.zeros((n, known.vectors.shape[1]), np.float32),
            known.similarity[rows, 0],
            known.guess[rows],
            known.guess_sd[rows],
            known.unit_cost[rows],
            today.rival if today else np.full(n, np.nan),
            np.full(n, np.nan),
            today.promotion.astype(np.float64) if today else np.zeros(n),
            today.date * _DAY_US if today else np.zeros(n, np.int64),
            self._category[rows],
            known.words[rows],
        )


def _usual_markup(known: Knowledge) -> float:
    """Median log(price / cost) by what listings are guessed to be charged at."""
    cost = np.where(known.unit_cost > 0, known.unit_cost, np.nan)
    margins = known.guess - np.log(cost)
    return MARKUP if np.isnan(margins).all() else float(np.nanmedian(margins))
