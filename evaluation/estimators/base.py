"""What an estimator is given and what it must say."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Ratio
from evaluation.logged import Logged


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A log seen from a target policy π.

    Attributes:
        weight: w = π(a | x) / p(a | x) of the action drawn, float64 (n,).
        reward: r, float64 (n,).
        mass: m, what each row counts, float64 (n,).
        groups: rows of one draw, int64 (n,), from 0 without gaps.
        direct: Σ_a π(a | x) q(x, a), with q the predicted reward, float64 (n,); zeros without.
        residual: r − q(x, a) of the action drawn, float64 (n,); r without predictions.
    """

    weight: NDArray[np.float64]
    reward: NDArray[np.float64]
    mass: NDArray[np.float64]
    groups: NDArray[np.int64]
    direct: NDArray[np.float64]
    residual: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        logged: Logged,
        target: NDArray[np.float64],
        predicted: NDArray[np.float64] | None = None,
    ) -> Sample:
        """The sample of a log, a target and, for estimators that need them, predicted rewards.

        Args:
            target, predicted: of every arm, float64 (n, k).
        """
        direct, residual = np.zeros(len(logged)), logged.reward
        if predicted is not None:
            direct = (target * predicted).sum(1)
            residual = (
                logged.reward - np.take_along_axis(predicted, logged.action[:, None], 1)[:, 0]
            )
        weight = logged.importance(target)
        return cls(weight, logged.reward, logged.masses, logged.groups, direct, residual)


@dataclass(frozen=True, slots=True, eq=False)
class Terms:
    """An estimate, taken apart.

    Attributes:
        ratios: their sum is the estimate.
        tuned: the tuning parameter that was used, None where there is none.
    """

    ratios: tuple[Ratio, ...]
    tuned: float | None = None


class Estimator(ABC):
    """An estimator of what a target policy would earn per unit of mass.

    Attributes:
        name: in the registry, in tables and in `docs/off_policy.md`.
        needs_model: whether it reads predicted rewards.
        left_out: what its interval does not cover, in plain words; empty where nothing.
    """

    name: ClassVar[str]
    needs_model: ClassVar[bool]
    left_out: ClassVar[str] = ""

    @abstractmethod
    def terms(self, sample: Sample) -> Terms:
        """The estimate as a sum of ratios."""
