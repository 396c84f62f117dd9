"""UCB1 for each listing by itself: every rung of its ladder is an arm, every visitor a pull."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.protocol import Floats, Sales, Today, rungs
from evaluation.sellers.tally import Tally, arms, earnings
from markets import Knowledge


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
