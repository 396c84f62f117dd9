"""Inverse propensity scoring: let each draw stand for those that were not made."""

from dataclasses import dataclass
from typing import ClassVar

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class InversePropensity(Estimator):
    r"""Mean of rewards times importance weights.

    Formula: V = Σ_i m_i w_i r_i / Σ_i m_i, w = π(a | x) / p(a | x).

    References: Horvitz & Thompson 1952, eq. 6; Dudík, Erhan, Langford & Li 2014, section 3.2.

    Requirements: true propensities, above 0 wherever the target's are.

    Relations: unbiased, and the noisiest. It moves when a constant is added to every reward;
    `snips` does not, and is nearly always to be preferred.
    """

    name: ClassVar[str] = "ips"
    needs_model: ClassVar[bool] = False

    def terms(self, sample: Sample) -> Terms:
        """One ratio: weighted reward over mass."""
        return Terms((Ratio(sample.mass * sample.weight * sample.reward, sample.mass),))
