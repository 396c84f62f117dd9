"""Self-normalised inverse propensity scoring: a weighted mean of what was earned."""

from dataclasses import dataclass
from typing import ClassVar

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class SelfNormalised(Estimator):
    r"""Mean reward, weighted by importance.

    Formula: V = Σ_i m_i w_i r_i / Σ_i m_i w_i.

    References: Hájek 1971; Swaminathan & Joachims 2015, "The self-normalized estimator for
    counterfactual learning", section 4.

    Requirements: as `ips`.

    Relations: biased by O(1/n), far less noisy than `ips` where rewards are far from 0, never
    outside the range of the rewards. For a target without chance it is the mean of the rows that
    drew its choice, each weighted by one over its propensity.
    """

    name: ClassVar[str] = "snips"
    needs_model: ClassVar[bool] = False

    def terms(self, sample: Sample) -> Terms:
        """One ratio: weighted reward over weight."""
        weight = sample.mass * sample.weight
        return Terms((Ratio(weight * sample.reward, weight),))
