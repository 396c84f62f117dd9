"""Semiparametric pricing: valuations linear in features, their noise of any distribution."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.isotonic import isotonic_regression

from evaluation.sellers.attributes import attributes
from evaluation.sellers.protocol import Floats, Sales, Today, rungs
from evaluation.sellers.tally import Tally, earnings
from markets import Knowledge

_GRID = 256


def index_slopes(
    x: Floats, log_ratio: Floats, shown: Floats, units: Floats, ridge: float
) -> Floats:
    """How features shift the log of valuations, theta, (d,).

    Least squares of purchases on features and log price, prices being random; theta is the
    features' coefficients over minus the price's. The ratio holds whatever the distribution of
    the noise: Brillinger, "A generalized linear model with Gaussian regressor variables", 1983;
    Li and Duan, "Regression analysis under link violation", Annals of Statistics 1989.

    Args:
        x: standardised features, (n, d). log_ratio: log price over guess, (n, k).
        shown, units: impressions and units of each cell, (n, k). ridge: impressions, on features.
    """
    weight = shown.sum(axis=1)
    design = np.column_stack([np.ones(len(x)), x])
    price = np.where(shown > 0.0, log_ratio, 0.0)
    gram = np.empty((design.shape[1] + 1,) * 2)
    gram[:-1, :-1] = design.T @ (weight[:, None] * design)
    gram[-1, :-1] = gram[:-1, -1] = design.T @ (shown * price).sum(axis=1)
    gram[-1, -1] = (shown * price**2).sum()
    gram[np.diag_indices_from(gram)] += np.r_[1e-9, np.full(x.shape[1], ridge), 1e-9]
    right = np.append(design.T @ units.sum(axis=1), (units * price).sum())
    slopes = np.linalg.solve(gram, right)
    theta: Floats = slopes[1:-1] / max(-slopes[-1], 1e-4)
    return theta


def survival(index: Floats, shown: Floats, units: Floats, width: float) -> tuple[Floats, Floats]:
    """Share of visitors who value a listing above an index: a grid (g,) and the share there, (g,).

    Nadaraya-Watson with a Gaussian kernel, from counts in the bins of the grid, then made
    falling by isotonic regression weighted by impressions.

    Args:
        index, shown, units: of each cell, (c,). width: of the kernel, in the index's units.
    """
    grid = np.linspace(index.min() - 1e-9, index.max() + 1e-9, _GRID)
    place = np.rint((index - grid[0]) / (grid[1] - grid[0])).astype(np.int64)
    counts = [np.bincount(place, column, _GRID) for column in (shown, units)]
    kernel = np.exp(-0.5 * ((grid[:, None] - grid) / width) ** 2)
    n, bought = (kernel @ count for count in counts)
    share = isotonic_regression(bought / np.maximum(n, 1e-12), sample_weight=n, increasing=False)
    return grid, share


class Semiparametric:
    """Explore at random prices, estimate theta and the noise, charge what is best under both.

    Fan, Guo and Yu, "Policy optimization using semiparametric models for dynamic pricing", Journal
    of the American Statistical Association 2022, algorithm 1: a visitor buys where x' theta + noise
    is at least the price; episodes double in length; a part of each has prices drawn evenly, from
    which theta comes by least squares and the distribution of the noise by kernel regression.

    Where it differs: log valuations are linear, relative to the guessed price, so that cheap and
    dear listings share one noise. Least squares is scaled by the price's own slope
    (`index_slopes`), because most visitors value a listing below every price on the ladder. A
    decision is a listing-day, its visitors are counted. Random prices are spread over an episode
    of N decisions at the rate N^(-2/7) that gives its N^(5/7) for a twice differentiable noise,
    instead of coming all at its start; estimates use all random prices so far and are renewed
    daily; the best price is sought among the rungs rather than from a first-order condition.

    Attributes:
        components: of the texts. first: days of the first episode, which only explores.
        ridge: impressions. width: of the kernel, times sd n^(-1/5) of n units bought.
    """

    components = 8
    first = 4
    ridge = 20_000.0
    width = 1.06

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._all, self._random = knowledge, Tally(knowledge), Tally(knowledge)
        self._stream = np.random.default_rng(seed)
        self._x = attributes(knowledge, self.components)
        self._explored: dict[int, npt.NDArray[np.bool_]] = {}  # by day, (n,)
        self._start = 0
        self._length = self.first

    def price(self, today: Today) -> Floats:
        """Random for a share of the listings, best under the estimates for the others."""
        rows, k = today.rows, self._knowledge.ladders.shape[1]
        while today.day >= self._start + self._length:
            self._start, self._length = self._start + self._length, 2 * self._length
        share = 1.0
        if self._length > self.first:
            share = float(max(rows.size * self._length, 1) ** (-2.0 / 7.0))
        explores = self._stream.random(rows.size) < share
        tried = self._stream.integers(0, k, rows.size)
        arm = np.where(explores, tried, self._best(today))
        explored = np.zeros(len(self._x), np.bool_)
        explored[rows] = explores
        self._explored[today.day] = explored
        return rungs(self._knowledge, rows, arm)

    def learn(self, sales: Sales) -> None:
        """Count, apart where the price was random."""
        self._all.add(sales)
        drawn = np.zeros(sales.rows.size, np.bool_)
        for day in np.unique(sales.day).tolist():
            of_day = sales.day == day
            drawn[of_day] = self._explored[day][sales.rows[of_day]]
        self._random.add(
            Sales(
                sales.day[drawn],
                sales.rows[drawn],
                sales.price[drawn],
                sales.impressions[drawn],
                sales.units[drawn],
            )
        )

    def _best(self, today: Today) -> npt.NDArray[np.int64]:
        """Best rungs under the estimates, or those nearest the guess while there are none, (m,)."""
        rows, data = today.rows, self._random
        log_ratio = np.log(data.ratio)
        bought = data.units.sum()
        if bought < 1.0:
            return np.asarray(np.abs(log_ratio[rows]).argmin(axis=1))
        theta = index_slopes(self._x, log_ratio, data.impressions, data.units, self.ridge)
        index = log_ratio - (self._x @ theta)[:, None]
        seen = data.impressions > 0.0
        width = self.width * max(index[seen].std(), 0.05) * bought**-0.2
        grid, share = survival(index[seen], data.impressions[seen], data.units[seen], width)
        demand = np.interp(index[rows], grid, share)
        worth = earnings(self._knowledge, today, demand, self._all.traffic(rows))
        return np.asarray(worth.argmax(axis=1))
