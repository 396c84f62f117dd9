"""Disjoint LinUCB: each rung's payoff is linear in what is known of the listing and the day."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.attributes import attributes, own_sales
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, places, rungs
from evaluation.sellers.tally import Tally, earnings
from markets import Knowledge
from markets.calendar import weekday


class Ridge:
    """One ridge regression an arm, shared by all listings.

    Li, Chu, Langford and Schapire, "A contextual-bandit approach to personalized news article
    recommendation", WWW 2010, algorithm 1, over batches whose rows weigh w visitors each:

        A_a = ridge I + sum of w x x',  b_a = sum of x y,  theta_a = inverse(A_a) b_a,
        bound = theta_a' x + alpha sqrt(x' inverse(A_a) x),   y: payoff summed over the w visitors.

    Attributes:
        a: (k, d, d). b: (k, d).
    """

    def __init__(self, arms: int, features: int, ridge: float) -> None:
        self.a = np.repeat(ridge * np.eye(features)[None], arms, axis=0)
        self.b = np.zeros((arms, features))

    def add(self, arm: Ints, x: Floats, weight: Floats, payoff: Floats) -> None:
        """Add a batch: arm, weight and payoff (m,), x (m, d)."""
        for one in np.unique(arm).tolist():
            of_arm = arm == one
            part = x[of_arm]
            self.a[one] += part.T @ (weight[of_arm, None] * part)
            self.b[one] += payoff[of_arm] @ part

    def bounds(self, x: Floats, alpha: float) -> Floats:
        """Upper bounds of the payoff per visitor, (m, k)."""
        inverse = np.linalg.inv(self.a)
        theta = np.einsum("kde,ke->kd", inverse, self.b)
        width = np.stack([((x @ one) * x).sum(axis=1) for one in inverse], axis=1)  # (m, k)
        upper: Floats = x @ theta.T + alpha * np.sqrt(np.maximum(width, 0.0))
        return upper


class LinUCB:
    """The rung with the highest upper bound of earnings, learned for all listings at once.

    The payoff is a purchase, and its bound is multiplied by what a purchase earns at the rung, as
    the same authors multiply a click by what it pays. On the first day rungs are drawn at random:
    with one batch a day all listings would otherwise take the same untried rung.

    Features: 1; `attributes`; what the listing's own sales say that morning of its level (its log,
    and itself, which payoffs are linear in) and of its slope; promotion; weekend; log of the
    rival's price over guess, and whether there is one.

    Attributes:
        components: of the texts. alpha: width, in standard deviations of a purchase times the
            paper's alpha; a purchase of one in thirty has 0.18. ridge: impressions. keep: days for
            which features are kept; what is reported later than that is left out.
    """

    components = 32
    alpha = 0.03
    ridge = 300.0
    keep = 60

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        self._stream = np.random.default_rng(seed)
        self._fixed = attributes(knowledge, self.components)
        self._ridge: Ridge | None = None
        self._days: dict[int, tuple[Ints, Floats]] = {}  # by day: rows, features

    def price(self, today: Today) -> Floats:
        """Bound every rung's earnings."""
        rows, tally = today.rows, self._tally
        x = self._features(today)
        self._days[today.day] = (rows, x)
        self._days.pop(today.day - self.keep, None)
        if self._ridge is None:
            arm = self._stream.integers(0, self._knowledge.ladders.shape[1], rows.size)
        else:
            bound = np.clip(self._ridge.bounds(x, self.alpha), 0.0, 1.0)
            worth = earnings(self._knowledge, today, bound, tally.traffic(rows))
            arm = worth.argmax(axis=1)
        return rungs(self._knowledge, rows, arm)

    def learn(self, sales: Sales) -> None:
        """Add the batch; what is late counts with the features of its day."""
        arm = self._tally.add(sales)
        for day in self._days.keys() & set(sales.day.tolist()):
            rows, x = self._days[day]
            if self._ridge is None:
                self._ridge = Ridge(self._knowledge.ladders.shape[1], x.shape[1], self.ridge)
            of_day = np.flatnonzero(sales.day == day)
            place = places(rows, sales.rows[of_day])
            shown, units = (
                column[of_day].astype(np.float64) for column in (sales.impressions, sales.units)
            )
            self._ridge.add(arm[of_day], x[place], shown, units)

    def _features(self, today: Today) -> Floats:
        rows = today.rows
        own = own_sales(self._tally, rows)[:, :2]
        rival = np.where(today.rival > 0.0, today.rival, np.nan)
        off = np.log(rival) - self._knowledge.guess[rows]
        columns = (
            np.ones(rows.size),
            self._fixed[rows],
            own,
            np.exp(own[:, 0]),
            today.promotion,
            weekday(today.date) >= 5,
            np.nan_to_num(off),
            np.isfinite(off),
        )
        return np.column_stack(columns)
