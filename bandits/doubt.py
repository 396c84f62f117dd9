"""How far a guess may be off, listing by listing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_STEPS, _LONGEST = 20, 1.0  # of Fisher's scoring, which needs five short ones
_WEIGHT = 30.0  # listings that what is told without features counts as
_FURTHEST = np.log(4.0)  # of a log standard deviation from the one told without features


@dataclass(frozen=True, slots=True)
class Doubt:
    """Standard deviation of an error, as features of the guess tell it.

    The model is log sd = level + (x − centre)·slope (Harvey 1976, "Estimating regression models
    with multiplicative heteroscedasticity", Econometrica 44(3), eq. 2), no further than a factor of
    four from the usual.

    Attributes:
        usual: standard deviation of an error told without features. level: log of that of an
            error whose features are at the centre. centre, slope: (p,).
    """

    usual: float
    level: float
    centre: NDArray[np.float64]
    slope: NDArray[np.float64]

    @classmethod
    def fit(cls, x: NDArray[np.float64], error: NDArray[np.float64], usual: float) -> Doubt:
        """By the maximum likelihood of normal errors (Harvey 1976, section 3), where `usual` and
        features that tell nothing count as thirty listings.

        Args:
            x: features (m, p). error: of the guesses, (m,).
        """
        p = x.shape[1]
        centre = x.mean(0) if len(x) else np.zeros(p)
        scale = x.std(0) + 1e-3 if len(x) else np.ones(p)
        design = np.column_stack([np.ones(len(x)), (x - centre) / scale])
        start = np.concatenate([[np.log(usual)], np.zeros(p)])
        found = start.copy()
        information = 2.0 * (design.T @ design + _WEIGHT * np.eye(p + 1))
        for _ in range(_STEPS):
            square = (error * np.exp(-design @ found)) ** 2
            slope = design.T @ (square - 1.0) - 2.0 * _WEIGHT * (found - start)
            found += np.clip(np.linalg.solve(information, slope), -_LONGEST, _LONGEST)
        return cls(usual, float(found[0]), centre, found[1:] / scale)

    def of(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standard deviations, (n,), of guesses with features x (n, p); the usual where NaN."""
        # features beyond all that was learned from must not make a guess certain, or worthless
        usual = np.log(self.usual)
        log_sd = self.level + (x - self.centre) @ self.slope
        told = np.exp(np.clip(log_sd, usual - _FURTHEST, usual + _FURTHEST))
        return np.where(np.isnan(told), self.usual, told)
