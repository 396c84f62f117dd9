"""How much more than by chance of single buyers sales go up and down from day to day."""

import math
from dataclasses import dataclass

import torch

_SUPPOSED = 0.04
"""φ that decisions are weighed by before it is known: a day is off by a fifth."""

_BEFORE = 400.0  # information, 1 / variance, that there is none: as if it were 0 ± 0.05
_FARTHEST = 25.0  # squared deviations that an outcome counts for at most: a mistyped one is not all
_UNSURE = 0.5  # deviation of a curve, as a share of it, above which it tells nothing of φ
_LEAST = 1e-9  # units expected below which nothing is told

_BEFOREHAND = 10.0  # information of the log of an order's size as it is supposed: as if ± 0.3
_UNLIKE, _OFF = 0.5, 0.1  # q of listings' levels, and of days of one listing, as supposed
_DEVIATIONS, _STEPS = 5.0, 20


@dataclass(frozen=True, slots=True)
class Chance:
    """How units vary around their mean m: by order_size · m + overdispersion · m².

    Attributes:
        order_size: mean size of the order that a unit is bought in, 1 or more.
        overdispersion: φ, squared coefficient of variation of what a decision's demand is off by.
    """

    order_size: float = 1.0
    overdispersion: float = 0.0


PLAIN = Chance()
"""Units are bought one by one, on days that are alike."""


class Dispersion:
    r"""Overdispersion φ of units around what a decision expected, a fold over outcomes.

    With μ = n m the units expected of n impressions, and n s what the curve itself did not know,
    Var(u) = g μ + (n s)² + φ μ², g the order size (negative binomial where it is 1, and the doubt
    of the mean). Each decision tells (u − μ)² − g μ − (n s)² of φ μ², and counts as surely as it
    tells that, by the inverse variance of the square:

        φ = Σ w μ² ((u − μ)² − g μ − (n s)²) / Σ w μ⁴,   w = 1 / (μ + 2 v²),

    v the variance supposed. Moments as in McCullagh & Nelder, "Generalized Linear Models", 1989,
    section 9.2.

    Attributes:
        sums: Σ w μ² ((u − μ)² − (n s)²), Σ w μ³ and Σ w μ⁴, float64 (3,).
    """

    def __init__(self) -> None:
        self.sums = torch.zeros(3, dtype=torch.float64)

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
        tells = (mean > _LEAST) & (curve_sd < _UNSURE * curve)
        weight = sign * tells / (mean + 2.0 * supposed**2).clamp_min(_LEAST)
        square = torch.minimum((units - mean) ** 2, _FARTHEST * supposed)
        weighed = weight * mean**2
        told = [weighed * (square - doubt), weighed * mean, weighed * mean**2]
        self.sums += torch.stack(told).sum(1)

    def learned(self, order_size: float = 1.0) -> float:
        """φ, at least 0; 0 until decisions tell of it."""
        squares, cubes, information = self.sums.tolist()
        return float(max((squares - order_size * cubes) / (information + _BEFORE), 0.0))


def order_size(spread: torch.Tensor) -> float:
    r"""Mean size of the order that a unit is bought in, 1 where units are bought one by one.

    Units that come in orders are compound Poisson: with mean m they have variance g m,
    g = E size² / E size. Of a listing's D decisions, m_d what is expected but for the level, which
    is c = Σ u / Σ m, and may be anything,

        X = (Σ u² / m − (Σ u)² / Σ m) / c,   E X = g (D − 1) + q c (Σ m − Σ m² / Σ m),

    Pearson's statistic over (McCullagh & Nelder, "Generalized Linear Models", 1989, section 4.5),
    q what the m_d are off by: it grows with the square of the mean, so that listings of unlike
    traffic tell g from q. Before listings have a second decision, they tell by how they differ from
    each other, level and all, which q then takes for the most part; later that is next to nothing.

    Args:
        spread: D, Σ u, Σ m, Σ m² and Σ u² / m of listings, (n, 5).
    """
    count, units, mean, squares, over = spread[spread[:, 2] > 0].T
    if not len(count):
        return 1.0
    alike = (units.sum() / mean.sum()).clamp_min(_LEAST) * mean  # units, were levels all the same
    apart = (units - alike) ** 2 / alike
    between = _by_variance(apart, torch.ones_like(alike), alike, alike, 1.0, _UNLIKE)
    told = (count > 1.5) & (units > 0.5)
    count, units, mean, squares, over = (t[told] for t in (count, units, mean, squares, over))
    level = units / mean
    # of huge numbers that were taken back the last digits stay
    x = ((over - level * units) / level).clamp_min(0.0)
    many = (level * (mean - squares / mean)).clamp_min(0.0)
    return _by_variance(x, count - 1.0, many, units, between, _OFF)


def _by_variance(
    x: torch.Tensor,
    free: torch.Tensor,
    many: torch.Tensor,
    units: torch.Tensor,
    before: float,
    usual: float,
) -> float:
    """g of E x = g free + q many, q at least 0, by least squares, each row weighed by the variance
    that x has where `units` came in orders; log g drawn towards `before`, q towards `usual`.

    It begins with the middle row's. A row counts for five deviations at most, those of the g found
    before: one mistyped outcome is bounded by what the others have.
    """
    if not len(x):
        return before
    found, off = max(float((x / free).median()), 1.0), 0.0
    for _ in range(_STEPS):
        expected = found * free + off * many
        variance = (expected / free) ** 2 * (2.0 * free + free**2 * found / units)
        bounded = torch.minimum(x, expected + _DEVIATIONS * variance.sqrt())
        gg, gq, qq = (float((t / variance).sum()) for t in (free**2, free * many, many**2))
        gx, qx = (float((t * bounded / variance).sum()) for t in (free, many))
        qq, qx = qq + 1.0 / usual**2, qx + 1.0 / usual
        # of huge numbers the difference is lost, but not that gq² is at most gg times what qq was
        apart = max(gg * qq - gq**2, gg / usual**2)
        off = max((gg * qx - gq * gx) / apart, 0.0)
        size = max((gx - gq * off) / gg, 1.0)
        told = apart / qq * size**2
        log = told * math.log(size) + _BEFOREHAND * math.log(before)
        # whatever q is, g is no larger than without any
        found = max(min(math.exp(log / (told + _BEFOREHAND)), gx / gg), 1.0)
    return found
