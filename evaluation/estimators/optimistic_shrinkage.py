"""Doubly robust with optimistic shrinkage: large weights are drawn towards nothing, smoothly."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.estimators.tuning import Rule, chosen, reach, spaced
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class OptimisticShrinkage(Estimator):
    r"""Doubly robust, with weights shrunk by how large they are.

    Formula: V = Σ_i m_i (Σ_a π(a | x_i) q(x_i, a) + w'_i (r_i − q(x_i, a_i))) / Σ_i m_i,
    w' = λ w / (w² + λ).

    Args:
        strengths: λ. With several the log chooses one. None: 30,
            equally spaced in logarithm from 0.01 times the squared 0.05 quantile to 100 times the
            squared 0.95 quantile of the weights above 0 (the paper's experiments; see
            `estimators.tuning.reach`), and ∞.
        rule: how it is chosen, see `estimators.tuning.chosen`.

    References: Su, Dimakopoulou, Krishnamurthy & Dudík 2020, "Doubly robust off-policy evaluation
    with shrinkage", section 4 (optimistic shrinkage; w' minimises a sharp bound of the mean
    squared error).

    Requirements: as `dr`.

    Relations: λ = 0 is `dm`, λ = ∞ is `dr`; w' is never above √λ / 2.
    """

    name: ClassVar[str] = "dr-os"
    needs_model: ClassVar[bool] = True
    left_out: ClassVar[str] = "the bias of shrunk weights, and the choice of their strength"
    strengths: tuple[float, ...] | None = None
    rule: Rule = "error"

    def terms(self, sample: Sample) -> Terms:
        """One ratio for the strength that was given or chosen."""
        grid = self.strengths
        if grid is None:
            low, high = reach(sample.weight)
            grid = (*spaced(0.01 * low**2, 100 * high**2, 30), float("inf"))
        candidates = [self._at(sample, strength) for strength in grid]
        everything = self._at(sample, float("inf")).ratios
        ratios = [candidate.ratios for candidate in candidates]
        return candidates[chosen(ratios, everything, sample.groups, self.rule)]

    @staticmethod
    def _at(sample: Sample, strength: float) -> Terms:
        w = sample.weight
        # λ w / (w² + λ), written so that λ = ∞ leaves w as it is
        shrunk = w / (1 + w**2 / strength) if strength > 0 else np.zeros_like(w)
        row = sample.direct + shrunk * sample.residual
        return Terms((Ratio(sample.mass * row, sample.mass),), strength)
