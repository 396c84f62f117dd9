"""A fitted dynamic programme: demand rates estimated together, then stock and days left solved."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bandits.stock import programme
from evaluation.sellers.attributes import attributes
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, rungs
from evaluation.sellers.tally import CONVERSION, ELASTICITY, Tally, earnings
from markets import Knowledge

_SPREAD = np.array([0.6, 0.8])  # sd of level and steepness among listings, before any sales
_TRUST = 20.0  # listings that the assumed spread weighs
_STEEP = (0.3, 8.0)  # steepness is held in these bounds


class Demand:
    r"""Poisson demand of every listing, log-linear in the relative price, shrunk to its likes.

    units ~ Poisson(n exp(a + b z)), z = 1 - p / guess, (a, b) ~ N(M' x, S), x the features of the
    listing: a mixed model, Breslow and Clayton, "Approximate inference in generalized linear mixed
    models", Journal of the American Statistical Association 1993, section 2. Each fit takes
    Newton steps to the listings' modes, then M by ridge regression on the modes, and
    S from their spread and curvature (a step of expectation-maximisation with Laplace's
    approximation).

    Attributes:
        x: features, first a column of ones, (n, d). mean: M, (d, 2). spread: S, (2, 2).
        mode: a and b of each listing, (n, 2). covariance: how far off they may be, (n, 2, 2), by
            Laplace's approximation; S where nothing has been shown.
    """

    newton, ridge = 3, 30.0

    def __init__(self, x: Floats, tally: Tally) -> None:
        self.x, self._tally = np.column_stack([np.ones(len(x)), x]), tally
        self._z = 1.0 - tally.ratio
        self.mean = np.zeros((self.x.shape[1], 2))
        self.mean[0] = np.log(CONVERSION), ELASTICITY
        self.spread = np.diag(_SPREAD**2)
        self.mode = self.x @ self.mean
        self.covariance = np.tile(self.spread, (len(x), 1, 1))

    def rates(self, rows: Ints) -> Floats:
        """Expected units per impression at each rung, (m, k), at most 0.9."""
        return self._at(self.mode[rows][:, None], rows)[:, 0]

    def plausible(self, rows: Ints, normal: Floats) -> Floats:
        """Units per impression at each rung as they may be, (m, h, k), at most 0.9.

        Args:
            normal: h draws of two standard normal numbers, (h, 2).
        """
        off = normal @ np.linalg.cholesky(self.covariance[rows]).transpose(0, 2, 1)  # (m, h, 2)
        return self._at(self.mode[rows][:, None] + off, rows)

    def _at(self, curve: Floats, rows: Ints) -> Floats:
        """Units per impression, (m, h, k), of levels and steepnesses (m, h, 2)."""
        level, steep = curve[..., :1], np.clip(curve[..., 1:], *_STEEP)
        demand: Floats = np.exp(np.minimum(level + steep * self._z[rows][:, None], -0.1))
        return demand

    def fit(self) -> None:
        """Renew modes, then M and S, from all sales so far."""
        shown, units, z = self._tally.impressions, self._tally.units, self._z
        prior = self.x @ self.mean
        precision = np.linalg.inv(self.spread)
        seen = np.flatnonzero(shown.sum(axis=1) > 0.0)
        if not seen.size:
            return
        n, u, z = shown[seen], units[seen], z[seen]
        mode = self.mode[seen]
        for _ in range(self.newton):
            eta = np.clip(mode[:, :1] + mode[:, 1:] * z, -12.0, 0.5)
            expected = n * np.exp(eta)
            off = u - expected
            slope = np.column_stack([off.sum(axis=1), (off * z).sum(axis=1)])
            slope -= (mode - prior[seen]) @ precision
            curve = np.empty((seen.size, 2, 2))
            curve[:, 0, 0] = expected.sum(axis=1)
            curve[:, 0, 1] = curve[:, 1, 0] = (expected * z).sum(axis=1)
            curve[:, 1, 1] = (expected * z**2).sum(axis=1)
            curve += precision
            step = np.linalg.solve(curve, slope[:, :, None])[:, :, 0]
            mode = mode + np.clip(step, -1.0, 1.0)
        uncertain = np.linalg.inv(curve)
        self._learn_likes(seen, mode, uncertain.sum(axis=0))
        self.mode = self.x @ self.mean
        self.mode[seen] = mode
        self.covariance[:] = self.spread
        self.covariance[seen] = uncertain

    def _learn_likes(self, seen: Ints, mode: Floats, uncertain: npt.NDArray[Any]) -> None:
        """M and S from the modes of listings with impressions and their summed covariances."""
        x = self.x[seen]
        start = np.zeros_like(self.mean)
        start[0] = np.log(CONVERSION), ELASTICITY
        gram = x.T @ x + self.ridge * np.eye(x.shape[1])
        self.mean = start + np.linalg.solve(gram, x.T @ (mode - x @ start))
        off = mode - x @ self.mean
        total = off.T @ off + uncertain + _TRUST * np.diag(_SPREAD**2)
        self.spread = total / (seen.size + _TRUST)


class FittedProgramme:
    """The price that the exact programme over stock and days takes at the estimated rates.

    Estimate, then optimise, anew each day, as in the certainty-equivalent policies for Gallego and
    van Ryzin's problem (`markets.inventory`): den Boer and Zwart, "Dynamic pricing and learning
    with finite inventories", Operations Research 2015. Without stock the rung with the
    highest estimated earnings. Some prices are moved a rung, as those authors' "Simultaneously
    learning and optimizing using controlled variance pricing", Management Science 2014, do to
    keep estimates consistent.

    Attributes:
        components: of the texts. exact: most units that the programme is solved for; above
            it the even pace of `earnings` is near enough. vary: share of prices that are moved,
            `vary_new` in a listing's first `new` days.
    """

    components = 16
    exact = 80
    vary, vary_new, new = 0.1, 0.5, 4

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        self._stream = np.random.default_rng(seed)
        self._demand = Demand(attributes(knowledge, self.components), self._tally)

    def price(self, today: Today) -> Floats:
        """Best rungs at the estimated rates, some of them moved."""
        rows, tally = today.rows, self._tally
        k = self._knowledge.ladders.shape[1]
        demand, traffic = self._demand.rates(rows), tally.traffic(rows)
        arm = earnings(self._knowledge, today, demand, traffic).argmax(axis=1)
        if today.stock is not None:
            few = np.flatnonzero((today.stock <= self.exact) & (today.stock > 0))
            if few.size:
                stock = today.stock[few]
                solved = programme(
                    self._knowledge.ladders[rows[few]],
                    demand[few] * traffic[few, None],
                    max(today.days_left, 1),
                    int(stock.max()),
                )
                arm[few] = solved.arm[np.arange(few.size), 0, stock]
        share = np.where(tally.days[rows] < self.new, self.vary_new, self.vary)
        moved = self._stream.random(rows.size) < share
        step = self._stream.choice([-1, 1], rows.size)
        return rungs(self._knowledge, rows, np.clip(np.where(moved, arm + step, arm), 0, k - 1))

    def learn(self, sales: Sales) -> None:
        """Count, then fit."""
        self._tally.add(sales)
        self._demand.fit()
