"""Judging policies: off-policy estimators, A/B tests, and the benchmark."""

from evaluation.assignment import assign, assign_many
from evaluation.estimators import ESTIMATORS
from evaluation.experiments import Comparison, Once, compare
from evaluation.impressions import elasticity_of_mass
from evaluation.logged import Logged, Unanswerable
from evaluation.off_policy import Evaluation, earned, evaluate
from evaluation.overlap import Demands
from evaluation.planning import Plan, plan
from evaluation.targets import TARGETS

__all__ = [
    "ESTIMATORS",
    "TARGETS",
    "Comparison",
    "Demands",
    "Evaluation",
    "Logged",
    "Once",
    "Plan",
    "Unanswerable",
    "assign",
    "assign_many",
    "compare",
    "earned",
    "elasticity_of_mass",
    "evaluate",
    "plan",
]
