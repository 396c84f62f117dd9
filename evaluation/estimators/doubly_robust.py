"""Doubly robust: the model, corrected by what it got wrong."""

from dataclasses import dataclass
from typing import ClassVar

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.intervals import Ratio


@dataclass(frozen=True)
class DoublyRobust(Estimator):
    r"""Predicted rewards plus weighted residuals.

    Formula: V = Σ_i m_i (Σ_a π(a | x_i) q(x_i, a) + w_i (r_i − q(x_i, a_i))) / Σ_i m_i.

    References: Dudík, Langford & Li 2011, "Doubly robust policy evaluation and learning", eq. 1;
    Dudík, Erhan, Langford & Li 2014, section 3.3.

    Requirements: true propensities, and predictions that have not seen the row's reward.

    Relations: unbiased whatever the model says, and as precise as the model is good. The
    interval's standard error is that of its influence function, which is the summand itself.
    """

    name: ClassVar[str] = "dr"
    needs_model: ClassVar[bool] = True

    def terms(self, sample: Sample) -> Terms:
        """One ratio: direct and corrections over mass."""
        row = sample.direct + sample.weight * sample.residual
        return Terms((Ratio(sample.mass * row, sample.mass),))
