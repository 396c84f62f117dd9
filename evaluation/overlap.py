"""Whether a log can answer: how its importance weights lie, and the refusal where it cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Ratio, standard_error
from evaluation.logged import Logged, Unanswerable

FINEST = 2.0**-53
"""Probability from which on an arm can be drawn by a uniform number of 53 bits, as all here are."""


@dataclass(frozen=True, slots=True)
class Demands:
    """What a log must offer before anything is estimated from it.

    Attributes:
        effective: effective sample size, in groups, below which nothing is estimated. At 30 a
            share of one half is known to ± 0.18.
        off_mean: standard errors that the mean weight may lie from 1, where it belongs. Where
            weights are not heavy, a sound log of many rows fails 4 once in 16,000 times.
        unseen: share of the target's probability that may lie on arms that could not be drawn.
        rare: share that may lie on arms that were hardly ever offered, in 1 / √effective, the
            error that so many draws leave: beyond it, only predictions tell what they earn.
    """

    effective: float = 30.0
    off_mean: float = 4.0
    unseen: float = 1e-9
    rare: float = 1.0


@dataclass(frozen=True, slots=True)
class Weights:
    """How importance weights lie.

    Attributes:
        rows, groups: of the log.
        matched: rows with a weight above 0.
        effective: (Σ w)² / Σ w² over groups (Kish 1965; Owen 2013, eq. 9.13): as many draws from
            the target itself would tell about as much.
        largest: the largest weight of a row.
        largest_share: share of the largest group in the sum of weights.
        mean, mean_se: mean weight, 1 where the log covers the target, and its standard error: as
            the draws show it, or as the propensities of all arms say where that is more, for of
            heavy weights that were not drawn the draws show nothing.
        unseen: share of the target's probability on arms that could not be drawn; NaN where the
            log does not say which could.
        rare: share on arms of which, those with the largest weights first, less than one draw was
            to be expected in the whole log; NaN where it does not say.
    """

    rows: int
    groups: int
    matched: int
    effective: float
    largest: float
    largest_share: float
    mean: float
    mean_se: float
    unseen: float
    rare: float


def weigh(logged: Logged, target: NDArray[np.float64]) -> Weights:
    """Describe the weights of `target`, float64 (n, k); rows count by their mass."""
    weight, mass, groups = logged.importance(target), logged.masses, logged.groups
    sums = np.bincount(groups, weight * mass)
    square = (sums**2).sum()
    mean = Ratio(weight * mass, mass)
    unseen, rare, told = float("nan"), float("nan"), 0.0
    if logged.propensities is not None:
        missing = np.where(logged.propensities > FINEST, 0.0, target).sum(1)
        unseen = float((missing * mass).sum() / mass.sum())
        rare = _rare(target, logged.propensities, mass, groups)
        told = _told_error(target, logged.propensities, mass, groups)
    return Weights(
        rows=len(logged),
        groups=len(sums),
        matched=int((weight > 0).sum()),
        effective=float(sums.sum() ** 2 / square) if square > 0 else 0.0,
        largest=float(weight.max()),
        largest_share=float(sums.max() / sums.sum()) if square > 0 else 0.0,
        mean=mean.value(),
        mean_se=max(standard_error([mean], groups), told),
        unseen=unseen,
        rare=rare,
    )


def _rare(
    target: NDArray[np.float64],
    propensities: NDArray[np.float64],
    mass: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> float:
    """Share of the target's probability on the arms that were offered least for what it wants of
    them, as many as were to be drawn less than once all together; rows of a group as one draw.
    """
    rows, arms = np.nonzero(target)
    wanted, chance = target[rows, arms], propensities[rows, arms]
    order = np.argsort(chance / wanted)
    draws = (chance / np.bincount(groups)[groups[rows]])[order].cumsum()
    share = (wanted * mass[rows])[order]
    return float(share[draws < 1].sum() / mass.sum())


def _told_error(
    target: NDArray[np.float64],
    propensities: NDArray[np.float64],
    mass: NDArray[np.float64],
    groups: NDArray[np.int64],
) -> float:
    """Standard error of the mean weight by the propensities alone, rows of a group as one draw.

    Formula: Var w = Σₐ π² / p − (Σₐ π)² over the arms that could be drawn.
    """
    there = propensities > FINEST
    wanted = np.where(there, target, 0.0)
    second = (wanted**2 / np.where(there, propensities, 1.0)).sum(1)
    deviation = np.sqrt(np.maximum(second - wanted.sum(1) ** 2, 0.0))
    of_group = np.bincount(groups, mass * deviation)
    return float(np.sqrt((of_group**2).sum()) / mass.sum())


def hardly_offered(found: Weights, demands: Demands) -> bool:
    """Whether so much of the target's probability lies on arms that were hardly ever offered that
    what they earn would be missed.
    """
    return bool(found.rare > demands.rare / np.sqrt(found.effective))


def check(
    logged: Logged, target: NDArray[np.float64], demands: Demands, *, predicted: bool = False
) -> Weights:
    """Describe the weights, or refuse.

    Args:
        predicted: whether predictions can tell of what was hardly ever offered.

    Raises:
        Unanswerable: with every reason found.
    """
    found = weigh(logged, target)
    reasons = _reasons(found, demands, predicted)
    earned = logged.reward[logged.importance(target) > 0]
    if not reasons and not earned.any():
        reasons.append(
            f"none of the {found.matched} rows that the target could have drawn earned anything: "
            "the estimate would be 0 without an error; wait for more outcomes."
        )
    if reasons:
        raise Unanswerable(reasons)
    return found


def _reasons(found: Weights, demands: Demands, predicted: bool) -> list[str]:
    if found.matched == 0:
        return [
            f"the target would have drawn none of the {found.rows} logged actions: log with some "
            "probability on every arm, or ask about a target nearer to the log's policy."
        ]
    reasons = []
    if found.unseen > demands.unseen:
        reasons.append(
            f"{found.unseen:.2%} of the target's probability lies on arms that could not be drawn: "
            "what they earn is not in the log; keep the target to arms with a propensity above 0, "
            "or explore all arms and log again."
        )
    if found.effective < demands.effective:
        reasons.append(
            f"the effective sample size is {found.effective:.1f} of {found.groups} draws, below "
            f"{demands.effective:g}: wait for more outcomes, explore more, or ask about a target "
            "nearer to the log's policy."
        )
    if not predicted and found.unseen <= demands.unseen and hardly_offered(found, demands):
        reasons.append(
            f"{found.rare:.2%} of the target's probability lies on arms that were hardly ever "
            "offered, less than one draw of them in the whole log: what they earn is not in it; "
            "predict rewards, explore more, or ask about a target nearer to the log's policy."
        )
    if abs(found.mean - 1) > demands.off_mean * found.mean_se + 1e-9:
        reasons.append(
            f"the mean weight is {found.mean:.3f} ± {found.mean_se:.3f} and should be 1: the "
            "logged propensities are not those of the draws, or the target wants arms that were "
            "hardly ever offered; check how propensities are logged."
        )
    return reasons
