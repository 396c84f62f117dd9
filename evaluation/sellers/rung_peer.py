"""Peers that model each rung of the ladder as an arm of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from evaluation.sellers.features import Journal
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, rungs
from markets import Knowledge


class RungPeer(ABC):
    """Scores every rung by a model of its own, and charges the best.

    Rungs mean nearly the same for every listing: multiples of its guessed price. The models are
    fitted anew each day to all labels so far, late units included. A label counts as often as its
    weight: least squares with rows multiplied by the square root of the weight are weighted least
    squares. On the first day rungs are drawn evenly.

    Args:
        demand: models learn demand, and the margin is multiplied in before the best is taken;
            otherwise they learn profit.
    """

    def __init__(self, knowledge: Knowledge, seed: int, demand: bool) -> None:
        self._knowledge, self._demand = knowledge, demand
        self._journal = Journal(knowledge)
        self._stream = np.random.default_rng(seed)
        self._fitted = False

    @abstractmethod
    def fit(self, x: Floats, arm: Ints, reward: Floats) -> None:
        """Fit the arms to weighted contexts (m, d), rungs int64 (m,) and rewards (m,)."""

    @abstractmethod
    def scores(self, x: Floats) -> Floats:
        """Scores of contexts (m, d) at every rung, (m, k): optimistic, or drawn."""

    def price(self, today: Today) -> Floats:
        """Prices of the best rungs."""
        x = self._journal.context(today)
        k = self._knowledge.ladders.shape[1]
        if self._fitted and today.rows.size:
            scores = self.scores(x)
            if self._demand:
                scores = np.maximum(scores, 1e-6) * self._journal.margins(today.rows)
            arm = scores.argmax(axis=1)
        else:
            arm = self._stream.integers(k, size=today.rows.size)
        self._journal.wrote(today, x, arm)
        return rungs(self._knowledge, today.rows, arm)

    def learn(self, sales: Sales) -> None:
        """Fit the arms anew."""
        self._journal.sold(sales)
        if not sales.rows.size:
            return
        labels = self._journal.labels()
        if labels.weight.size:
            root = np.sqrt(labels.weight)
            reward = labels.demand if self._demand else labels.gain
            self.fit(labels.x * root[:, None], labels.arm, reward * root)
            self._fitted = True
