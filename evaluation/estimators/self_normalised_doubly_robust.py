"""Self-normalised doubly robust: the model, corrected by a weighted mean of its errors."""

from dataclasses import dataclass
from typing import ClassVar

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class SelfNormalisedDoublyRobust(Estimator):
    r"""Predicted rewards plus the importance-weighted mean of the residuals.

    Formula: V = Σ m_i Σ_a π(a | x_i) q(x_i, a) / Σ m_i + Σ m_i w_i (r_i − q(x_i, a_i)) / Σ m_i w_i.

    References: Thomas & Brunskill 2016, "Data-efficient off-policy policy evaluation for
    reinforcement learning", section 4 (weighted doubly robust); Kallus & Uehara 2019,
    "Intrinsically efficient, stable, and bounded off-policy evaluation", section 2.

    Requirements: as `dr`.

    Relations: to `dr` as `snips` is to `ips`: steadier under large weights, biased by O(1/n).
    """

    name: ClassVar[str] = "sndr"
    needs_model: ClassVar[bool] = True

    def terms(self, sample: Sample) -> Terms:
        """Two ratios: direct over mass, residuals over weight."""
        weight = sample.mass * sample.weight
        direct = Ratio(sample.mass * sample.direct, sample.mass)
        return Terms((direct, Ratio(weight * sample.residual, weight)))
