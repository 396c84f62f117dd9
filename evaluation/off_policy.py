"""What a policy would have earned, estimated from another policy's log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.estimators import ESTIMATORS, Estimator, Sample
from evaluation.intervals import Interval, Ratio, bca, student
from evaluation.logged import Logged
from evaluation.overlap import Demands, Weights, check, hardly_offered

_DEMANDS = Demands()


@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimator's answer, per unit of mass.

    Attributes:
        name: of the estimator.
        value: what the target would have earned.
        gain: that less what the log earned, from the same rows.
        tuned: tuning parameter used, or None.
        left_out: what the intervals do not cover; empty where nothing.
    """

    name: str
    value: Interval
    gain: Interval
    tuned: float | None
    left_out: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All that a log says about a target.

    Attributes:
        logged: what the log's own policy earned per unit of mass.
        weights: how the importance weights lie.
        estimates: by estimator's name.
        level: coverage of the intervals.
    """

    logged: Interval
    weights: Weights
    estimates: dict[str, Estimate]
    level: float


def evaluate(
    logged: Logged,
    target: NDArray[np.float64],
    predicted: NDArray[np.float64] | None = None,
    *,
    estimators: Sequence[Estimator] | None = None,
    level: float = 0.95,
    method: Literal["student", "bca"] = "student",
    demands: Demands = _DEMANDS,
    seed: int = 0,
) -> Evaluation:
    """Estimate what `target` would have earned where `logged` was drawn.

    Args:
        target: probability of every arm under the target policy, float64 (n, k); chosen without
            the rewards of the same rows, or the estimate flatters it.
        predicted: expected reward of every arm, float64 (n, k), by a model that has not seen the
            row's reward (`reward_models.cross_fitted`). None: only estimators that need none.
        estimators: None takes all of `ESTIMATORS` that can be had. Where much of the target's
            probability lies on arms that were hardly ever offered, those without a model are left
            out.
        level: coverage of the intervals, in (0, 1).
        method: `student`, the delta method with degrees of freedom from the effective sample size;
            `bca`, a bootstrap, for few and skewed rewards.
        demands: what the log must offer.
        seed: of the bootstrap.

    Raises:
        Unanswerable: the log cannot answer; each reason says why and what to do.
        ValueError: an argument has the wrong shape or an impossible value.
    """
    if not 0 < level < 1:
        raise ValueError(f"level is {level}: give a coverage between 0 and 1, such as 0.95")
    if method not in ("student", "bca"):
        raise ValueError(f"method is {method!r}: give 'student' or 'bca'")
    logged.check_target(target)
    if predicted is not None and predicted.shape != target.shape:
        raise ValueError(f"predicted has shape {predicted.shape}: give {target.shape}")
    if predicted is not None and not np.isfinite(predicted).all():
        raise ValueError("predicted holds values that are not finite: predict every arm")
    given = [e for e in ESTIMATORS.values() if predicted is not None or not e.needs_model]
    asked = given if estimators is None else list(estimators)
    for estimator in asked:
        if estimator.needs_model and predicted is None:
            raise ValueError(f"estimators: {estimator.name} needs predicted rewards; give them")
    modelled = any(estimator.needs_model for estimator in asked)
    weights = check(logged, target, demands, predicted=modelled)
    missing = ""
    if hardly_offered(weights, demands):
        asked = [estimator for estimator in asked if estimator.needs_model]
        missing = (
            f"the model's error in the {weights.rare:.1%} of the target's probability that lie on "
            "arms hardly ever offered"
        )
    sample = Sample.of(logged, target, predicted)

    def interval(ratios: Sequence[Ratio], freedom: float) -> Interval:
        if method == "bca":
            return bca(ratios, sample.groups, level, seed)
        return student(ratios, sample.groups, level, freedom)

    forgone = Ratio(-sample.mass * sample.reward, sample.mass)
    estimates = {}
    for estimator in asked:
        terms = estimator.terms(sample)
        value = interval(terms.ratios, weights.effective - 1)
        gain = interval((*terms.ratios, forgone), weights.effective - 1)
        left_out = ", and ".join(part for part in (estimator.left_out, missing) if part)
        estimates[estimator.name] = Estimate(estimator.name, value, gain, terms.tuned, left_out)
    return Evaluation(earned(logged, level), weights, estimates, level)


def earned(logged: Logged, level: float = 0.95) -> Interval:
    """What the log's own policy earned per unit of mass; needs no weights, so is never refused."""
    mass = logged.masses
    ratio = Ratio(mass * logged.reward, mass)
    return student([ratio], logged.groups, level, float(logged.groups.max()))
