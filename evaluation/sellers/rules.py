"""Rules as shops use them: down when sales are slow, up when they are fast, near the rival."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.protocol import Floats, Sales, Today
from evaluation.sellers.tally import Tally
from markets import Knowledge


class Rules:
    """A first price, moved in steps of a rung when a review finds sales slow or fast.

    The rules are a shop's own sense; the reviews against a plan are those of markdown practice as
    Smith and Achabal, "Clearance pricing and inventory policies for retail chains", Management
    Science 1998, describe it. No demand is estimated.

    - First price: the reference price, else the guessed price, on the nearest rung.
    - With stock, every `review` days: units sold since the last review against the pace that sells
      the rest by the last day. Below `slow` of it a step down, above `fast` a step up, above twice
      `fast` `leap` steps. What has sold `few` units and is above `fast` is reviewed at once, lest
      it be gone in a week; in the last `late` days there is a review every day, to clear.
    - Without stock, every `review` days: a step down when impressions were shown that should have
      brought `due` units at the shop's conversion and fewer than `slow` of these came; a step
      up when more than `fast` came; at most `reach` steps from the first price.
    - Promotions sell by themselves: the price stays, and the review leaves such days out.
      Weekends differ from weekdays, so a review is a whole week.
    - A rival's price is met within `near` of the price so found. No rung lies below cost.

    Attributes:
        review, late: days. slow, fast: shares. due, few: units. reach, leap: steps.
        near: log units.
    """

    review = 7
    late = 7
    slow, fast = 0.6, 1.6
    due = 6.0
    reach = 3
    near = 0.1
    few, leap = 3, 3

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        known = np.isfinite(knowledge.reference)
        start = np.where(known, np.log(np.where(known, knowledge.reference, 1.0)), knowledge.guess)
        self._log_ladders = np.log(knowledge.ladders)
        self._first = np.abs(self._log_ladders - start[:, None]).argmin(axis=1)
        self._rung = self._first.copy()
        n = start.size
        self._expected, self._units, self._plan = np.zeros((3, n))
        self._since = np.zeros(n, np.int64)
        self._counts = np.zeros(n, np.bool_)

    def price(self, today: Today) -> Floats:
        """Review what is due for it, then price."""
        rows, log_ladders = today.rows, self._log_ladders[today.rows]
        if rows.size:
            self._review(today)
        log_price = log_ladders[np.arange(rows.size), self._rung[rows]]
        rival = np.where(today.rival > 0.0, today.rival, np.nan)
        pull = np.nan_to_num(np.log(rival) - log_price)
        aim = log_price + np.clip(pull, -self.near, self.near)
        arm = np.abs(log_ladders - aim[:, None]).argmin(axis=1)
        self._counts[rows] = ~today.promotion
        self._since[rows] += ~today.promotion
        if today.stock is not None:
            self._plan[rows] += np.where(today.promotion, 0.0, today.stock / today.days_left)
        prices: Floats = self._knowledge.ladders[rows, arm]
        return prices

    def learn(self, sales: Sales) -> None:
        """Count units, and what the shop's conversion would have brought."""
        counts = self._counts[sales.rows]
        expected = sales.impressions * self._shop_conversion()
        np.add.at(self._expected, sales.rows, np.where(counts, expected, 0.0))
        np.add.at(self._units, sales.rows, np.where(counts, sales.units, 0))
        self._tally.add(sales)

    def _shop_conversion(self) -> float:
        tally = self._tally
        return float((tally.units.sum() + 30.0) / (tally.impressions.sum() + 1000.0))

    def _review(self, today: Today) -> None:
        """Step down where slow, up where fast; then a new week begins."""
        rows, rung = today.rows, self._rung
        units, since = self._units[rows], self._since[rows]
        if today.stock is None:
            aim = self._expected[rows]
            ripe = (since >= self.review) & (aim >= self.due)
            low, high = self._first[rows] - self.reach, self._first[rows] + self.reach
        else:
            aim = self._plan[rows]
            ripe = (since >= self.review) | ((today.days_left <= self.late) & (since >= 1))
            ripe |= (units >= self.few) & (units > self.fast * aim)
            low, high = np.zeros_like(rows), np.full_like(rows, self._log_ladders.shape[1] - 1)
        step = (units > self.fast * aim).astype(np.int64) - (units < self.slow * aim)
        if today.stock is not None:
            step = np.where(units > 2.0 * self.fast * aim, self.leap, step)
        moved = np.clip(rung[rows] + step, low, high)
        moved = np.clip(moved, 0, self._log_ladders.shape[1] - 1)
        rung[rows] = np.where(ripe, moved, rung[rows])
        again = rows[ripe]
        self._since[again] = 0
        self._units[again] = self._expected[again] = self._plan[again] = 0.0
