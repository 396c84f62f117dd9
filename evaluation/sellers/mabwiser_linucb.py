"""mabwiser's linear UCB, an arm for each rung: https://github.com/fidelity/mabwiser."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.sellers.packages import imported
from evaluation.sellers.protocol import Floats, Ints
from evaluation.sellers.rung_peer import RungPeer
from markets import Knowledge


@dataclass(frozen=True, slots=True)
class LinUCBSettings:
    """Settings of `LearningPolicy.LinUCB`, by default the package's.

    Attributes:
        alpha: standard deviations of optimism. l2_lambda: strength of the ridge penalty.
        demand: as in `RungPeer`.
    """

    alpha: float = 1.0
    l2_lambda: float = 1.0
    demand: bool = False


class LinUCB(RungPeer):
    """Li et al., "A contextual-bandit approach to personalized news", WWW 2010, algorithm 1."""

    def __init__(
        self, knowledge: Knowledge, seed: int, settings: LinUCBSettings | None = None
    ) -> None:
        settings = settings or LinUCBSettings()
        super().__init__(knowledge, seed, settings.demand)
        mab = imported("mabwiser", "mabwiser.mab")
        self._arms = list(range(knowledge.ladders.shape[1]))
        policy = mab.LearningPolicy.LinUCB(settings.alpha, settings.l2_lambda)
        self._mab = mab.MAB(self._arms, policy, seed=seed)

    def fit(self, x: Floats, arm: Ints, reward: Floats) -> None:
        """Fit all arms from nothing."""
        self._mab.fit(arm, reward, x)

    def scores(self, x: Floats) -> Floats:
        """Upper confidence bounds."""
        found = self._mab.predict_expectations(x)
        found = found if isinstance(found, list) else [found]
        return np.array([[bounds[arm] for arm in self._arms] for bounds in found])
