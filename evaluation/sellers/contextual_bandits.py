"""Policies of contextualbandits: https://github.com/david-cortes/contextualbandits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from evaluation.sellers.packages import imported
from evaluation.sellers.protocol import Floats, Ints
from evaluation.sellers.rung_peer import RungPeer
from markets import Knowledge

_ZERO = 1 << 31  # in place of seed 0, which the package refuses


@dataclass(frozen=True, slots=True)
class LinTSSettings:
    """Settings of `online.LinTS`, by default the package's, but for one.

    `sample_from` is "ci": with its default, "coef", version 0.3.30 draws coefficients far too wide
    to be of use (on a linear world of 40 features with 3,000 labels and next to no noise the scores
    have a correlation of 0.04 with the truth, and of 1.00 with "ci").

    Attributes:
        v_sq: factor on the covariance that coefficients are drawn from.
        lambda_: strength of the ridge penalty. demand: as in `RungPeer`.
    """

    v_sq: float = 1.0
    lambda_: float = 1.0
    demand: bool = False


@dataclass(frozen=True, slots=True)
class BootstrapSettings:
    """Settings of `online.BootstrappedTS`, by default the package's, over ridge regressions.

    Attributes:
        nsamples: bootstrap samples of each arm. alpha: strength of the ridge penalty, which the
            package leaves to its user; by default scikit-learn's. demand: as in `RungPeer`.
    """

    nsamples: int = 10
    alpha: float = 1.0
    demand: bool = False


class _Package(RungPeer):
    """A policy object of the package."""

    def __init__(self, knowledge: Knowledge, seed: int, demand: bool) -> None:
        super().__init__(knowledge, seed, demand)
        self._online = imported("contextualbandits", "contextualbandits.online")
        self._arms = knowledge.ladders.shape[1]
        self._policy: Any = None

    def fit(self, x: Floats, arm: Ints, reward: Floats) -> None:
        """Fit all arms from nothing."""
        self._policy.fit(x, arm, reward)

    def scores(self, x: Floats) -> Floats:
        """Rewards predicted by coefficients that are drawn."""
        return np.asarray(self._policy.decision_function(x), np.float64)


class LinTS(_Package):
    """Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", 2013."""

    def __init__(
        self, knowledge: Knowledge, seed: int, settings: LinTSSettings | None = None
    ) -> None:
        settings = settings or LinTSSettings()
        super().__init__(knowledge, seed, settings.demand)
        self._policy = self._online.LinTS(
            self._arms,
            lambda_=settings.lambda_,
            v_sq=settings.v_sq,
            fit_intercept=False,  # "one" is a feature, and its weight is then right
            sample_from="ci",
            random_state=seed or _ZERO,
        )


class BootstrappedTS(_Package):
    """Cortes, "Adapting multi-armed bandits policies to contextual bandits scenarios", 2018."""

    def __init__(
        self, knowledge: Knowledge, seed: int, settings: BootstrapSettings | None = None
    ) -> None:
        settings = settings or BootstrapSettings()
        super().__init__(knowledge, seed, settings.demand)
        self._policy = self._online.BootstrappedTS(
            Ridge(alpha=settings.alpha, fit_intercept=False),
            self._arms,
            nsamples=settings.nsamples,
            random_state=seed or _ZERO,
            njobs_arms=1,
        )
