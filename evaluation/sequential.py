"""Anytime-valid inference about a difference per impression, from the throws of a known coin.

The randomness used is that of the assignment alone: whether a unit was treated was decided by an
independent coin of known bias. Nothing is assumed about how profit is distributed or how it depends
on itself from day to day, so heavy tails, zeros and seasons cannot cause false alarms.

References:
    de la Peña 1999, "A general class of exponential inequalities for martingales and ratios"
    (symmetric variables); Robbins 1970, "Statistical methods related to the law of the iterated
    logarithm" (normal mixture); Howard, Ramdas, McAuliffe & Sekhon 2021, "Time-uniform,
    nonparametric, nonasymptotic confidence sequences", eq. 14; Ham, Bojinov, Lindon & Tingley 2022,
    "Design-based confidence sequences"; Kearns & Saul 1998, "Large deviation methods for
    approximate probabilistic inference"; Deng, Xu, Kohavi & Walker 2013, "Improving the sensitivity
    of online controlled experiments by utilizing pre-experiment data".
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

WARM_UP = 20
"""Units that teach what to expect of a unit before any is judged by it, both arms together."""

TUNED_BY = 20
"""Units with a profit other than zero after the warm-up that set the scale of the test."""

TIGHTEST_AT = 2000
"""Units at which the interval is narrowest compared with what is possible, if no plan says so."""

Floats = NDArray[np.float64]


def coin_variance(share: float) -> float:
    """Sub-Gaussian variance of a coin minus its mean: 1/4 for a fair one (Kearns & Saul 1998).

    Formula: (1 − 2p) / (2 ln((1 − p) / p)); never below p (1 − p), equal to it at p = 1/2.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}: give the treated share of the two arms, in (0, 1)")
    if abs(share - 0.5) < 1e-6:
        return 0.25
    return (1 - 2 * share) / (2 * math.log((1 - share) / share))


def tightness(alpha: float) -> float:
    """V / ρ at which the normal mixture is nearly narrowest (Howard et al. 2021, eq. 21)."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha}: give the accepted rate of false alarms, in (0, 1)")
    return -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))


def leftover(amount: Floats, impressions: Floats, covariate: Floats | None = None) -> Floats:
    """Amount minus what the units before it, of both arms together, let expect for it.

    Formula: aᵢ = yᵢ − (ȳ + θ (xᵢ − x̄)) Iᵢ, with ȳ = Σy / ΣI, x̄ = ΣxI / ΣI and θ the slope of the
    impression-weighted regression of y / I on x (Deng et al. 2013, control variates), all sums over
    j < i. Linear in `amount`; looks at no arm and no later unit.

    Args:
        amount: profit (currency units), (..., n), units in the order of time.
        impressions: (..., n), 0 or more.
        covariate: profit per impression before the experiment, (..., n), or none.

    Returns: float64 (..., n).
    """
    weight = _before(impressions)
    mean = _ratio(_before(amount), weight)
    if covariate is None:
        return np.asarray(amount - mean * impressions)
    x = covariate - covariate[..., :1]  # a shift changes nothing but rounding
    weighted = x * impressions
    centre = _ratio(_before(weighted), weight)
    spread = _before(x * weighted) - weight * centre**2
    together = _before(x * amount) - weight * centre * mean
    usable = spread > 1e-12 * _before(x * weighted)
    slope = np.divide(together, spread, out=np.zeros_like(mean), where=usable)
    return np.asarray(amount - (mean + slope * (x - centre)) * impressions)


def log_evidence(
    profit: Floats,
    impressions: Floats,
    treated: NDArray[np.bool_],
    share: float = 0.5,
    *,
    effect: float = 0.0,
    covariate: Floats | None = None,
    alpha: float = 0.05,
    tightest_at: int = TIGHTEST_AT,
) -> Floats:
    """Evidence against "the treatment adds `effect` per impression" after every unit.

    Formula: log M = S² / 2(V + ρ) − ½ log((V + ρ) / ρ), S = Σ (Wᵢ − p) aᵢ, V = v(p) Σ aᵢ²,
    aᵢ the `leftover` of profit − effect Wᵢ Iᵢ, v(p) = `coin_variance`, sums over the n units after
    the first `WARM_UP`, and ρ = tightest_at · V / (n · `tightness`) once, when `TUNED_BY` of them
    had a profit. What the first units leave over is not noise but what is not learned yet: in V for
    ever, it would hide effects that are small beside the profit itself.

    Under the hypothesis the aᵢ do not depend on the coins, so given them exp(λS − λ²V/2) is a
    supermartingale for every λ, M mixes it over λ ~ N(0, 1/ρ), and P(some M ≥ 1/α) ≤ α by Ville's
    inequality: exactly, at any sample size, for any distribution of profit.

    Args:
        profit, impressions, covariate: as `leftover`.
        treated: the coin's side W, (..., n). share: its known bias p.
        effect: difference of profit per impression under test.
        alpha: level for which ρ is tuned. tightest_at: units for which it is tuned.

    Returns: float64 (..., n), −inf until ρ is set. Reject for ever once above log(1 / alpha).
    """
    coin = coin_variance(share)
    rest = _judged(profit - effect * treated * impressions, impressions, covariate)
    tilt = ((treated - share) * rest).cumsum(-1)  # S
    spread = coin * (rest * rest).cumsum(-1)  # V
    end = _tuned(profit)[..., None]  # (..., 1)
    last = np.minimum(end, profit.shape[-1] - 1)
    count = np.maximum(last + 1 - WARM_UP, 1)
    rho = np.take_along_axis(spread, last, -1) / count * tightest_at / tightness(alpha)
    ready = (np.arange(profit.shape[-1]) >= end) & (rho > 0)
    total = np.where(ready, spread + rho, 1.0)
    evidence = tilt**2 / (2 * total) - 0.5 * np.log(total / np.where(rho > 0, rho, 1.0))
    return np.asarray(np.where(ready, evidence, -np.inf))


def interval(
    profit: Floats,
    impressions: Floats,
    treated: NDArray[np.bool_],
    share: float = 0.5,
    *,
    covariate: Floats | None = None,
    alpha: float = 0.05,
    tightest_at: int = TIGHTEST_AT,
) -> tuple[float, float, float]:
    """Estimate and confidence sequence of the difference after the last unit.

    The interval is the hull of all effects that `log_evidence` does not reject now. Since the
    leftover is linear in profit, a(δ) = A − δB, five sums of A and B are all it takes.

    Args: as `log_evidence`, arrays (n,).

    Returns: estimate (the δ at which S = 0; nan where no impression was treated), lower and upper
        end, ±inf where nothing is excluded yet.
    """
    a = _judged(profit, impressions, covariate)
    b = _judged(treated * impressions, impressions, covariate)
    lift = float(((treated - share) * b).sum())
    estimate = float(((treated - share) * a).sum()) / lift if lift > 0 else math.nan
    end = int(_tuned(profit))
    if lift <= 0 or end >= len(profit):
        return estimate, -math.inf, math.inf
    coin, tuned = coin_variance(share), tightest_at / (tightness(alpha) * (end + 1 - WARM_UP))
    centred = a - estimate * b
    now = _moments(centred, b)
    early = _moments(centred[: end + 1], b[: end + 1])

    def accepted(shift: Floats | float) -> NDArray[np.bool_]:
        """Whether the effect estimate + shift survives, elementwise."""
        spread = coin * (now[0] - 2 * shift * now[1] + shift**2 * now[2])
        rho = coin * tuned * (early[0] - 2 * shift * early[1] + shift**2 * early[2])
        total = spread + rho
        bound = total * (2 * math.log(1 / alpha) + np.log(total / np.maximum(rho, 1e-300)))
        return np.asarray(((shift * lift) ** 2 < bound) | (np.asarray(shift) == 0), np.bool_)

    unit = math.sqrt(coin * now[0]) / lift or 1.0  # any, where nothing is left over
    angle = np.arange(1, 2000) * (math.pi / 4000)
    grid = unit * np.tan(angle)  # shifts from 0.0008 to 1300 standard errors
    return estimate, estimate + _edge(accepted, -grid), estimate + _edge(accepted, grid)


def _edge(accepted: Callable[[Floats | float], NDArray[np.bool_]], grid: Floats) -> float:
    """Outermost accepted shift along one side of the estimate, by bisection in its grid cell."""
    inside = np.flatnonzero(accepted(grid))
    last = int(inside[-1]) if len(inside) else -1
    if last == len(grid) - 1:
        return math.copysign(math.inf, grid[-1])
    near, far = (float(grid[last]) if last >= 0 else 0.0), float(grid[last + 1])
    for _ in range(60):
        middle = (near + far) / 2
        if accepted(middle):
            near = middle
        else:
            far = middle
    return far


def _moments(a: Floats, b: Floats) -> tuple[float, float, float]:
    return float(a @ a), float(a @ b), float(b @ b)


def _judged(amount: Floats, impressions: Floats, covariate: Floats | None) -> Floats:
    """The `leftover` of the units after the warm-up, 0 in it, (..., n)."""
    rest = leftover(amount, impressions, covariate)
    rest[..., :WARM_UP] = 0.0
    return rest


def _tuned(profit: Floats) -> NDArray[np.intp]:
    """Index of the unit at which ρ is set, n where too few were sold; (...,)."""
    after = np.arange(profit.shape[-1]) >= WARM_UP
    enough = ((profit != 0) & after).cumsum(-1) >= TUNED_BY
    return np.asarray(np.where(enough[..., -1], enough.argmax(-1), profit.shape[-1]))


def _before(values: Floats) -> Floats:
    """Sum over all earlier units, (..., n); 0 for the first."""
    sums = np.zeros(values.shape)
    np.cumsum(values[..., :-1], axis=-1, out=sums[..., 1:])
    return sums


def _ratio(above: Floats, below: Floats) -> Floats:
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.zeros(above.shape), where=below > 0)
