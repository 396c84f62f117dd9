"""Thompson sampling for each listing by itself: a belief about the conversion at each rung."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.protocol import Floats, Sales, Today, rungs
from evaluation.sellers.tally import Tally, arms, earnings
from markets import Knowledge


def posterior(
    impressions: Floats, units: Floats, mean: Floats, successes: float
) -> tuple[Floats, Floats]:
    """Beta posterior of conversions: a and b, of the shape of the arguments.

    From the prior Beta(s, s / mean - s) with s = `successes`:

        a = s + units,  b = s / mean - s + impressions - units.

    Units reported of more impressions than were counted leave b at its prior.

    Args:
        impressions, units: so far. mean: prior mean, in (0, 1).
    """
    a = successes + units
    b = successes / mean - successes + np.maximum(impressions - units, 0.0)
    return a, b


class Thompson:
    """The rung that earns most under one draw from the beliefs about its arms.

    Beta-Bernoulli sampling of Chapelle and Li, "An empirical evaluation of Thompson sampling",
    NeurIPS 2011, algorithm 2, for days in place of single visitors; what a purchase earns
    multiplies the draw. Arms are independent given the prior, whose mean is that of the shop's
    typical listing at the rung's relative price.

    Attributes:
        stride: every how many rungs there is an arm, as in `UCB1`.
        successes: purchases that the prior weighs. 4 means a coefficient of variation of a half,
            about what products' conversions at one relative price have.
    """

    successes = 4.0
    stride = 2

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        self._stream = np.random.default_rng(seed)
        self._arm = arms(self._tally, self.stride)

    def price(self, today: Today) -> Floats:
        """Draw conversions, take the best rung."""
        rows, tally = today.rows, self._tally
        prior = tally.typical(rows)
        a, b = posterior(tally.impressions[rows], tally.units[rows], prior, self.successes)
        drawn = self._stream.beta(a, b)
        worth = earnings(self._knowledge, today, drawn, tally.traffic(rows))
        arm = np.where(self._arm[rows], worth, -np.inf).argmax(axis=1)
        return rungs(self._knowledge, rows, arm)

    def learn(self, sales: Sales) -> None:
        """Count."""
        self._tally.add(sales)
