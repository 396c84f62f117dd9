"""A season: buyers, day after day, under conditions that change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from markets import chance
from markets.buyers import IMPRESSIONS, VISITORS, Buyers
from markets.calendar import Calendar
from markets.conditions import Conditions
from markets.demand import Floats, Ints, highest
from markets.reports import Late, Reports

Objective = Literal["profit", "revenue"]

_RIVAL_MOVES, _RIVAL_SPREAD = 0.1, 0.15
_PROMOTION_DAYS, _PROMOTION_LIFT = 3, 1.5
_SMOOTHING, _LOSS = 0.8, 2.0
_FELT_MOST = 700.0  # e to the power of more is no number
_CONVERSION_MOST = 0.9
_SWEEPS, _STEPS = 6, 30

# What a number of `chance` is for; 1 and 2 are the buyers' own, 3 to 5 the reports'.
_RIVAL_MOVE, _RIVAL_PRICE, _PROMOTION, _SHOCK, _DRIFT, _TURN, _STOCK = range(6, 13)


@dataclass(frozen=True, slots=True)
class Day:
    """What a day brought, one row per listing.

    Attributes:
        impressions: int64 (n,). units: sold, int64 (n,), whether reported or not.
        reported: units of this day reported on it, int64 (n,). late: units of earlier days.
        expected: expected gain, currency units, (n,), given the impressions and without regard
            to the stock.
    """

    impressions: Ints
    units: Ints
    reported: Ints
    late: Late
    expected: Floats


class Season:
    """A season of n listings, one price each a day; everything follows from the buyers' keys.

    Args:
        buyers: who buys, hidden from whoever prices.
        conditions: what changes.
        calendar: seasonality of impressions; None for days that are alike.
        first_date: date of each listing's first day, days since 1970, int64 (n,); its recorded
            arrival, say. Read with a calendar only.
        objective: "revenue" leaves costs out.

    Attributes:
        day: days gone. today: the buyers as they are today. rival: rivals' prices today, (n,), NaN
            without rivals. promotion: bool (n,). stock: units left, int64 (n,), or None.
            remembered: prices remembered, (n,), NaN before the first day.

    Raises:
        ValueError: listings cannot be divided into groups of substitutes, dates are missing, or an
            unknown objective.
    """

    def __init__(
        self,
        buyers: Buyers,
        conditions: Conditions,
        *,
        calendar: Calendar | None = None,
        first_date: Ints | None = None,
        objective: Objective = "profit",
    ) -> None:
        n = len(buyers)
        if n % conditions.group:
            raise ValueError(f"{n} listings cannot be divided into groups of {conditions.group}")
        if objective not in get_args(Objective):
            raise ValueError(f"objective must be profit or revenue, not {objective!r}")
        if calendar is not None and (first_date is None or first_date.shape != (n,)):
            raise ValueError(f"a calendar needs first_date, one for each of {n} listings")
        self.buyers, self.conditions, self.objective = buyers, conditions, objective
        self._calendar, self._first_date = calendar, first_date
        self._keys = buyers.keys
        self.day = 0
        self.rival = np.full(n, np.nan)
        self.promotion = np.zeros(n, np.bool_)
        self.remembered = np.full(n, np.nan)
        self.stock: Ints | None = None
        if conditions.stock is not None:
            low, high = conditions.stock
            drawn = chance.uniform(self._keys, _STOCK, 0) * (high - low + 1)
            self.stock = low + drawn.astype(np.int64)
        if conditions.turn_day is not None:
            self._turning = chance.uniform(self._keys, _TURN, 0) < conditions.turn_share
        self._walk = np.zeros(n)
        self._promotion_left = np.zeros(n, np.int64)
        self._reports = Reports(conditions, self._keys)
        self._prices: list[Floats] = []
        self._dawn()

    @property
    def done(self) -> bool:
        """Whether the last day is over."""
        return self.day >= self.conditions.days

    @property
    def cost(self) -> Floats:
        """Unit costs that count, (n,): none where revenue is the objective."""
        return self.buyers.unit_cost if self.objective == "profit" else np.zeros(len(self.buyers))

    def demand(self, prices: Floats) -> Floats:
        """Expected units per impression today at `prices`, (n,), or (n, k): k price lists."""
        demand = self.today.units_per_impression(prices)
        if self.conditions.memory and self.day:
            gap = (_column(self.remembered, prices) - prices) / _column(self.today.value, prices)
            felt = self.conditions.memory * np.where(gap < 0.0, _LOSS * gap, gap)
            demand = np.minimum(demand * np.exp(np.minimum(felt, _FELT_MOST)), 1.0)
        return demand if self.conditions.group == 1 else self._shared(demand)

    def gain(self, prices: Floats) -> Floats:
        """Expected profit, or revenue, per impression today, currency units; shape of `prices`."""
        gain: Floats = (prices - _column(self.cost, prices)) * self.demand(prices)
        return gain

    def mean_impressions(self, day: int) -> Floats:
        """Expected impressions of a day, (n,), whatever is charged."""
        mean, group = self.buyers.mean_impressions, self.conditions.group
        if self._calendar is not None:
            assert self._first_date is not None
            mean = mean * self._calendar.factor(self._first_date + day)
        if group > 1:  # substitutes are seen together
            mean = np.repeat(mean.reshape(-1, group).mean(axis=1), group)
        return mean

    def impressions(self) -> Ints:
        """Impressions of today, int64 (n,), whatever is charged."""
        group = self.conditions.group
        u = chance.uniform(self._keys[::group], IMPRESSIONS, self.day)
        shown = chance.poisson(u, self.mean_impressions(self.day)[::group])
        return np.repeat(shown, group) if group > 1 else shown

    def step(self, prices: npt.ArrayLike) -> Day:
        """Sell for a day.

        Args:
            prices: currency units per unit, (n,).

        Raises:
            ValueError: another shape, or a price that is negative or not a number.
            RuntimeError: the season is over.
        """
        if self.done:
            raise RuntimeError(f"the season is over after {self.conditions.days} days")
        p = np.array(prices, np.float64)  # its own: a day's prices are looked up later
        if p.shape != (len(self.buyers),) or not (np.isfinite(p) & (p >= 0.0)).all():
            raise ValueError(f"expected {len(self.buyers)} finite prices of at least 0, not {p}")
        demand, shown = self.demand(p), self.impressions()
        units = self._sold(shown, demand)
        if self.stock is not None:
            units = np.minimum(units, self.stock)
            self.stock = self.stock - units
        reported, late = self._reports.of(self.day, units)
        self._prices.append(p)
        expected = (p - self.cost) * demand * shown
        if self.conditions.memory:
            first = np.isnan(self.remembered)
            smoothed = _SMOOTHING * self.remembered + (1.0 - _SMOOTHING) * p
            self.remembered = np.where(first, p, smoothed)
        self.day += 1
        if not self.done:
            self._dawn()
        return Day(shown, units, reported, late, expected)

    def price_on(self, day: Ints, row: Ints) -> Floats:
        """What was charged, (m,), for rows on days gone."""
        charged = np.empty(row.size)
        for one in np.unique(day).tolist():
            of_day = day == one
            charged[of_day] = self._prices[one][row[of_day]]
        return charged

    def best_prices(self) -> Floats:
        """The prices, (n,), with the highest expected gain today, by one who knows the buyers.

        It looks at the day alone: with remembered prices or stock a later day may be worth a
        sacrifice (`markets.inventory` solves the case of stock). Substitutes are priced together,
        each given the others, in turn until that changes little.
        """
        cost, group = self.cost, self.conditions.group
        reach = self.today.value * np.maximum(-5.0 / self.today.elasticity, self.buyers.choke)
        if self.conditions.memory and self.day:  # up to what is remembered a price is a gain
            reach = np.maximum(reach, self.remembered - cost)
        if group == 1:
            return highest(self.gain, cost, cost + reach)
        alone = highest(self._alone, cost, cost + reach)
        # no climb from one place finds the top of every hill: from all offered, and from the best
        # of each group offered and the others out of reach
        worth = self._alone(alone).reshape(-1, group)
        first = np.arange(group) == worth.argmax(axis=1)[:, None]
        starts = (alone, np.where(first.ravel(), alone, cost + 2.0 * reach))
        tops = np.stack([self._climbed(start, reach) for start in starts])  # (2, n)
        gains = np.stack([self.gain(top).reshape(-1, group).sum(axis=1) for top in tops])
        return np.asarray(tops[gains.argmax(axis=0).repeat(group), np.arange(len(alone))])

    def _climbed(self, start: Floats, reach: Floats) -> Floats:
        """Prices of substitutes, (n,), each the best given the others', in turn from a start.

        Args:
            reach: above cost, up to which a price may be the best, (n,).
        """
        cost, group, prices = self.cost, self.conditions.group, start.copy()
        for member in list(range(group)) * _SWEEPS:
            rows = slice(member, None, group)

            def of_group(tried: Floats, rows: slice = rows) -> Floats:
                wide = np.repeat(prices[:, None], tried.size // (prices.size // group), axis=1)
                wide[rows] = tried.reshape(prices.size // group, -1)
                total: Floats = self.gain(wide).reshape(-1, group, wide.shape[1]).sum(axis=1)
                return np.asarray(total.reshape(tried.shape))

            found = highest(of_group, cost[rows], (cost + reach)[rows], _STEPS)
            # an offer with a thin margin may be worth most where nobody takes it
            out = (cost + 2.0 * reach)[rows]
            prices[rows] = np.where(of_group(out) > of_group(found), out, found)
        return prices

    def _alone(self, prices: Floats) -> Floats:
        margin = prices - _column(self.cost, prices)
        return margin * self.today.units_per_impression(prices)

    def _shared(self, demand: Floats) -> Floats:
        """Nested logit among the substitutes of a group; columns are price lists.

        With odds o = d / (1 - d) of each alone, weights w = o^(1 / nest) and their sum W, a
        visitor buys with odds W^nest, and then offer i with probability w_i / W. Here weights are
        divided by the largest, which no power takes beyond what a number can hold.
        """
        nest = self.conditions.nest
        odds = demand / np.maximum(1.0 - demand, 1e-12)
        odds = odds.reshape(-1, self.conditions.group, *demand.shape[1:])
        top = odds.max(axis=1, keepdims=True)
        weights = (odds / np.where(top > 0.0, top, 1.0)) ** (1.0 / nest)
        total = weights.sum(axis=1, keepdims=True)
        any_odds = top * total**nest
        buys = any_odds / (1.0 + any_odds)
        shares: Floats = weights / np.where(total > 0.0, total, 1.0) * buys
        return shares.reshape(demand.shape)

    def _sold(self, shown: Ints, demand: Floats) -> Ints:
        """Units wanted, int64 (n,); of substitutes a visitor takes one at most."""
        u, group = chance.uniform(self._keys, VISITORS, self.day), self.conditions.group
        if group == 1:
            return chance.binomial(u, shown, demand)
        units = np.empty_like(shown)
        left, rest = shown[::group].copy(), np.ones(shown.size // group)
        # a multinomial draw: each offer from the visitors whom the offers before it left
        for member in range(group):
            rows = slice(member, None, group)
            share = np.clip(demand[rows] / np.maximum(rest, 1e-300), 0.0, 1.0)
            units[rows] = chance.binomial(u[rows], left, share)
            left, rest = left - units[rows], rest - demand[rows]
        return units

    def _dawn(self) -> None:
        """What the day brings, before prices are set."""
        buyers, conditions, day, keys = self.buyers, self.conditions, self.day, self._keys
        value, elasticity, conversion = buyers.value, buyers.elasticity, buyers.conversion
        if conditions.drift:
            self._walk = self._walk + conditions.drift * chance.normal(keys, _DRIFT, day)
            value = value * np.exp(self._walk)
        if conditions.competitors:
            moves = chance.uniform(keys, _RIVAL_MOVE, day) < (_RIVAL_MOVES if day else 1.0)
            drawn = value * np.exp(_RIVAL_SPREAD * chance.normal(keys, _RIVAL_PRICE, day))
            self.rival = np.where(moves, drawn, self.rival)
            value = value ** (1.0 - conditions.competitors) * self.rival**conditions.competitors
        if conditions.promotions:
            begins = chance.uniform(keys, _PROMOTION, day) < conditions.promotions
            left = np.maximum(self._promotion_left - 1, 0)
            self._promotion_left = np.where(begins, _PROMOTION_DAYS, left)
            self.promotion = self._promotion_left > 0
            conversion = conversion * np.where(self.promotion, _PROMOTION_LIFT, 1.0)
        if conditions.shocks:
            conversion = conversion * np.exp(conditions.shocks * chance.normal(keys, _SHOCK, day))
        if conditions.turn_day is not None and day >= conditions.turn_day:
            elasticity = elasticity * np.where(self._turning, conditions.turn, 1.0)
        if conversion is not buyers.conversion:
            conversion = np.minimum(conversion, _CONVERSION_MOST)
        self.today = replace(buyers, value=value, elasticity=elasticity, conversion=conversion)


def _column(values: Floats, prices: Floats) -> Floats:
    """Values (n,) to go with prices (n,) or (n, k)."""
    return values if prices.ndim == 1 else values[:, None]
