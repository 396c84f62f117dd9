"""What sellers count, and what they expect from it: sales by rung, a typical curve, earnings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.sellers.protocol import Floats, Ints, Sales, Today, counted_cost
from markets import Knowledge

ELASTICITY = 2.0
"""Price elasticity of a typical product at a typical price: Tellis, Journal of Marketing Research
1988, found a mean of -1.8, Bijmolt, van Heerde and Pieters, ibid. 2005, one of -2.6."""

CONVERSION = 0.03
"""Units per impression at the guessed price, taken as typical before anything is sold."""

_TRUST = 3000.0  # impressions that `CONVERSION` weighs
_TRAFFIC_DAYS = 1.0  # days that the shop's mean traffic weighs against a listing's own


class Tally:
    """Impressions and units of every listing at every rung of its ladder.

    Attributes:
        ratio: price of each rung over the guessed price, (n, k).
        distinct: rungs that do not repeat the one below, bool (n, k).
        impressions, units: so far, (n, k). days: on which the listing was on sale, (n,).
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._ladders = knowledge.ladders
        self.ratio = knowledge.ladders / np.exp(knowledge.guess)[:, None]
        self.distinct = np.diff(knowledge.ladders, axis=1, prepend=-np.inf) > 0.0
        self.impressions, self.units = np.zeros((2, *knowledge.ladders.shape))
        self.days = np.zeros(len(knowledge.ladders))

    def add(self, sales: Sales) -> Ints:
        """Count sales; the rung of each, (m,): the one whose price is nearest."""
        gap = np.abs(np.log(self._ladders[sales.rows] / sales.price[:, None]))
        arm: Ints = gap.argmin(axis=1)
        np.add.at(self.impressions, (sales.rows, arm), sales.impressions)
        np.add.at(self.units, (sales.rows, arm), sales.units)
        np.add.at(self.days, sales.rows, sales.impressions > 0)
        return arm

    def typical(self, rows: Ints) -> Floats:
        """Units per impression of the shop's typical listing at each rung, (m, k), at most 0.9.

        Demand falls exponentially in the relative price, by `ELASTICITY` at the guess; its level
        is the shop's own.
        """
        exposure = (self.impressions * np.exp(-ELASTICITY * (self.ratio - 1.0))).sum()
        level = (self.units.sum() + _TRUST * CONVERSION) / (exposure + _TRUST)
        curve: Floats = np.minimum(level * np.exp(-ELASTICITY * (self.ratio[rows] - 1.0)), 0.9)
        return curve

    def traffic(self, rows: Ints) -> Floats:
        """Expected impressions a day, (m,): the listing's mean, drawn towards the shop's."""
        shown = self.impressions.sum(axis=1)
        mean = (shown.sum() + 1.0) / (self.days.sum() + 1.0)
        expected: Floats = (shown[rows] + _TRAFFIC_DAYS * mean) / (self.days[rows] + _TRAFFIC_DAYS)
        return expected


def earnings(knowledge: Knowledge, today: Today, demand: Floats, traffic: Floats) -> Floats:
    """Expected earnings per impression at each rung, currency units, (m, k).

    Without stock it is margin times demand. With stock costs are spent, and no more is sold than
    lasts to the end at an even pace: the deterministic problem of Gallego and van Ryzin,
    Management Science 1994, for one price, solved anew each day.

    Args:
        demand: units per impression, (m, k). traffic: impressions a day, (m,).
    """
    prices = knowledge.ladders[today.rows]
    if today.stock is None:
        margin: Floats = prices - counted_cost(knowledge)[today.rows, None]
        return margin * demand
    pace = today.stock / (max(today.days_left, 1) * np.maximum(traffic, 1e-9))
    capped: Floats = prices * np.minimum(demand, pace[:, None])
    return capped


def arms(tally: Tally, stride: int) -> npt.NDArray[np.bool_]:
    """Every so many rungs, the one nearest the guess among them, bool (n, k)."""
    from_nearest = np.arange(tally.ratio.shape[1]) - np.abs(np.log(tally.ratio)).argmin(
        axis=1, keepdims=True
    )
    chosen: npt.NDArray[np.bool_] = tally.distinct & (from_nearest % stride == 0)
    return chosen
