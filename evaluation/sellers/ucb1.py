"""UCB1 for each listing by itself: every rung of its ladder is an arm, every visitor a pull."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from evaluation.sellers.protocol import Floats, Ints, Sales, Today, counted_cost, rungs
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


def upper(impressions: Floats, units: Floats, weight: float = 1.0) -> Floats:
    """Upper bounds of conversion, (m, k); infinite where nothing was shown.

    UCB1-tuned of Auer, Cesa-Bianchi and Fischer, "Finite-time analysis of the multiarmed bandit
    problem", Machine Learning 2002, section 4, with t the listing's impressions:

        q_j + weight sqrt(ln t / n_j min(1/4, V_j)),  V_j = q_j (1 - q_j) + sqrt(2 ln t / n_j).

    Args:
        impressions: n_j, (m, k). units: n_j q_j, (m, k). weight: 1 in the paper.
    """
    shown = np.maximum(impressions, 1.0)
    log_t = np.log(np.maximum(impressions.sum(axis=1, keepdims=True), 1.0))
    q = np.minimum(units / shown, 1.0)
    spread = q * (1.0 - q) + np.sqrt(2.0 * log_t / shown)
    bound = q + weight * np.sqrt(log_t / shown * np.minimum(0.25, spread))
    return np.where(impressions > 0.0, bound, np.inf)


class UCB1:
    """The rung with the highest upper bound of earnings, each rung having been tried once.

    Purchases are the rewards, in {0, 1} as the theorem wants them; what a purchase earns is known
    and multiplies the bound, as in Misra, Schwartz and Abernethy, "Dynamic online pricing with
    incomplete information using multiarmed bandit experiments", Marketing Science 2019. A day is a
    batch of pulls at one price. Rungs are tried from the guessed price outwards; with
    stock from the top, where a trial costs few units.

    Attributes:
        stride: every how many rungs there is an arm; between them profits differ little.
        weight: of the width of the bound. The paper's 1 is made for any reward in [0, 1] and
            explores all season where one visitor in thirty buys.
    """

    stride = 4
    weight = 0.05

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        self._arm = arms(self._tally, self.stride)

    def price(self, today: Today) -> Floats:
        """Rungs untried first, then by their bounds."""
        rows, tally = today.rows, self._tally
        shown = tally.impressions[rows]
        bound = upper(shown, tally.units[rows], self.weight)
        finite = np.where(shown > 0.0, bound, 0.0)
        index = earnings(self._knowledge, today, finite, tally.traffic(rows))
        away = np.log(tally.ratio[rows])
        late = np.abs(away) if today.stock is None else away[:, -1:] - away
        first = np.finfo(np.float64).max / (1.0 + late)
        index = np.where(np.isinf(bound), first, index)
        arm = np.where(self._arm[rows], index, -np.inf).argmax(axis=1)
        return rungs(self._knowledge, rows, arm)

    def learn(self, sales: Sales) -> None:
        """Count."""
        self._tally.add(sales)
