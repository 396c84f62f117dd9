"""How much more than by chance of each buyer sales go up and down from day to day."""

import torch

_SUPPOSED = 0.04
"""φ that decisions are weighed by before it is known: a day is off by a fifth."""

_BEFORE = 400.0  # information, 1 / variance, that there is none: as if it were 0 ± 0.05
_FARTHEST = 25.0  # squared deviations that an outcome counts for at most: a mistyped one is not all
_LEAST = 1e-9  # units expected below which nothing is told


class Dispersion:
    r"""Overdispersion φ of units around what a decision expected, a fold over outcomes.

    With μ = n m the units expected of n impressions, and n s what the curve itself did not know,
    Var(u) = μ + (n s)² + φ μ² (negative binomial, and the doubt of the mean). Each decision tells
    (u − μ)² − μ − (n s)² of φ μ², and counts as surely as it tells that, by the inverse variance of
    the square:

        φ = Σ w μ² ((u − μ)² − μ − (n s)²) / Σ w μ⁴,   w = 1 / (μ + 2 v²),

    v the variance supposed. Moments as in McCullagh & Nelder, "Generalized Linear Models", 1989,
    section 9.2.

    Attributes:
        sums: the numerator and the denominator, float64 (2,).
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(2, dtype=torch.float64)

    def add(
        self,
        curve: torch.Tensor,
        curve_sd: torch.Tensor,
        impressions: torch.Tensor,
        units: torch.Tensor,
        sign: torch.Tensor,
    ) -> None:
        """Add decisions, or with a sign of -1 take them away, (m,) each; args as `told_of_all`."""
        mean = curve * impressions
        doubt = (curve_sd * impressions) ** 2
        supposed = mean + doubt + _SUPPOSED * mean**2
        weight = sign * (mean > _LEAST) / (mean + 2.0 * supposed**2).clamp_min(_LEAST)
        square = torch.minimum((units - mean) ** 2, _FARTHEST * supposed)
        self.sums += torch.stack(
            [(weight * mean**2 * (square - mean - doubt)).sum(), (weight * mean**4).sum()]
        )

    def learned(self) -> float:
        """φ, at least 0; 0 until decisions tell of it."""
        told, information = self.sums.tolist()
        return max(float(told) / (float(information) + _BEFORE), 0.0)
