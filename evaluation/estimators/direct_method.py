"""The direct method: believe the reward model."""

from dataclasses import dataclass
from typing import ClassVar

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class DirectMethod(Estimator):
    r"""Mean predicted reward of the target's choices.

    Formula: V = Σ_i m_i Σ_a π(a | x_i) q(x_i, a) / Σ_i m_i.

    References: Dudík, Erhan, Langford & Li 2014, "Doubly robust policy evaluation and
    optimization", section 3.1.

    Requirements: predicted rewards of every arm; no propensities.

    Relations: the variance of a mean, and all of the model's bias. The others exist because of it.
    Use it to see how far the model alone is from `dr`.
    """

    name: ClassVar[str] = "dm"
    needs_model: ClassVar[bool] = True
    left_out: ClassVar[str] = "the reward model's own error"

    def terms(self, sample: Sample) -> Terms:
        """One ratio: direct over mass."""
        return Terms((Ratio(sample.mass * sample.direct, sample.mass),))
