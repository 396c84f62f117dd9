"""Off-policy estimators, by name. To add one: a file here, and its line below."""

from evaluation.estimators.base import Estimator, Sample, Terms
from evaluation.estimators.direct_method import DirectMethod
from evaluation.estimators.doubly_robust import DoublyRobust
from evaluation.estimators.inverse_propensity import InversePropensity
from evaluation.estimators.optimistic_shrinkage import OptimisticShrinkage
from evaluation.estimators.self_normalised import SelfNormalised
from evaluation.estimators.self_normalised_doubly_robust import SelfNormalisedDoublyRobust
from evaluation.estimators.switch import SwitchDoublyRobust

ESTIMATORS: dict[str, Estimator] = {
    estimator.name: estimator
    for estimator in (
        DirectMethod(),
        InversePropensity(),
        SelfNormalised(),
        DoublyRobust(),
        SelfNormalisedDoublyRobust(),
        SwitchDoublyRobust(),
        OptimisticShrinkage(),
    )
}

__all__ = [
    "ESTIMATORS",
    "DirectMethod",
    "DoublyRobust",
    "Estimator",
    "InversePropensity",
    "OptimisticShrinkage",
    "Sample",
    "SelfNormalised",
    "SelfNormalisedDoublyRobust",
    "SwitchDoublyRobust",
    "Terms",
]
