"""Switch: correct the model where weights are small, believe it where they are large."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.estimators.tuning import Rule, chosen, reach, spaced
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class SwitchDoublyRobust(Estimator):
    r"""Doubly robust, with corrections only where the weight is at most a threshold τ.

    Formula: V = Σ_i m_i (Σ_a π(a | x_i) q(x_i, a) + w_i 1(w_i ≤ τ) (r_i − q(x_i, a_i))) / Σ_i m_i.

    Args:
        thresholds: τ. With several the log chooses one. None: 21,
            equally spaced in logarithm from the 0.05 to the 0.95 quantile of the weights above 0
            (the grid of the paper's section 5; see `estimators.tuning.reach`), and ∞.
        rule: how it is chosen, see `estimators.tuning.chosen`.

    References: Wang, Agarwal & Dudík 2017, "Optimal and adaptive off-policy evaluation in
    contextual bandits", section 3 (SWITCH-DR).

    Requirements: as `dr`.

    Relations: τ = 0 is `dm`, τ = ∞ is `dr`. Gains where a few weights are huge; on a log that
    explores enough it is `dr` with a bias. Prefer `dr-os`, which has no cliff at τ.
    """

    name: ClassVar[str] = "switch-dr"
    needs_model: ClassVar[bool] = True
    left_out: ClassVar[str] = "the bias where weights are above the threshold, and its choice"
    thresholds: tuple[float, ...] | None = None
    rule: Rule = "error"

    def terms(self, sample: Sample) -> Terms:
        """One ratio for the threshold that was given or chosen."""
        grid = self.thresholds
        if grid is None:
            low, high = reach(sample.weight)
            grid = (*spaced(low, high, 21), float("inf"))
        candidates = [self._at(sample, threshold) for threshold in grid]
        everything = self._at(sample, float("inf")).ratios
        ratios = [candidate.ratios for candidate in candidates]
        return candidates[chosen(ratios, everything, sample.groups, self.rule)]

    @staticmethod
    def _at(sample: Sample, threshold: float) -> Terms:
        kept = np.where(sample.weight <= threshold, sample.weight, 0.0)
        row = sample.direct + kept * sample.residual
        return Terms((Ratio(sample.mass * row, sample.mass),), threshold)
