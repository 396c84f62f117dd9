"""How many units an A/B test of prices needs, from units already seen."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from evaluation.sequential import WARM_UP, coin_variance, tightness

_MOST = 1e100  # deviations of a unit over the effect, whose square is a number


@dataclass(frozen=True, slots=True)
class Plan:
    """Units needed to find an effect, and what the answer rests on.

    Args:
        units: in both arms together, for one look at the end.
        units_sequential: in both arms together, so that the confidence sequence, tuned for this
            many (`tightest_at`), has excluded zero by then with the same power. A real effect is
            usually found well before.
        effect: difference of profit per impression to be found, currency units.
        ratio: profit per impression in the history, currency units.
        deviation: root mean square of profit − ratio · impressions of a unit, currency units,
            after the covariate's part is taken out.
        variance_saved: share of the variance that the covariate took out, 0 without one.
        power: probability of finding the effect. alpha: accepted rate of false alarms.
    """

    units: int
    units_sequential: int
    effect: float
    ratio: float
    deviation: float
    variance_saved: float
    power: float
    alpha: float


def plan(
    profit: NDArray[np.float64],
    impressions: NDArray[np.float64],
    effect: float,
    *,
    covariate: NDArray[np.float64] | None = None,
    share: float = 0.5,
    power: float = 0.8,
    alpha: float = 0.05,
) -> Plan:
    """Plan a test from the units of an earlier time, each as long as a period of the test.

    Formula: n = (z(1 − α/2) + z(power))² s² / (p (1 − p) Ī² δ²) for one look, the delta method
    (Deng, Knoblich & Lu 2018, "Applying the delta method in metric analytics"), s² the mean
    square of profit − ratio · impressions. For the sequence, z(1 − α/2) √(p (1 − p)) is
    replaced by √(v(p) (1 + 1/g) (2 log(1/α) + log(1 + g))), g = `tightness`, the boundary at the
    unit it is tuned for, and the units of its warm-up, `WARM_UP`, come on top.

    Args:
        profit, impressions: of each unit and period, (n,), n at least 2.
        effect: smallest difference of profit per impression worth finding, currency units.
        covariate: profit per impression before those units, (n,).
        share: treated share of the two arms. power, alpha: in (0, 1).

    Raises:
        ValueError: values that are no numbers, fewer than two units, no impressions, no spread, a
            setting out of its range, or an effect too small for any number of units.
    """
    profit, impressions = np.asarray(profit, np.float64), np.asarray(impressions, np.float64)
    _check(profit, impressions, covariate)
    if not (math.isfinite(effect) and effect != 0):
        raise ValueError(f"effect is {effect}: give a difference per impression other than 0")
    if not 0 < power < 1:
        raise ValueError(f"power is {power}: give the wanted probability of finding it, in (0, 1)")
    coin, tuned = coin_variance(share), tightness(alpha)
    ratio = profit.sum() / impressions.sum()
    rest = profit - ratio * impressions
    plain = float(rest @ rest)
    if covariate is not None:
        rest = rest - covariate_part(profit, impressions, np.asarray(covariate, np.float64))
    square = float(rest @ rest) / (len(rest) - 1)
    if square == 0:
        raise ValueError("profit is the same share of impressions in every unit: nothing to plan")
    throw = share * (1 - share)
    scale = math.sqrt(square) / (throw * impressions.mean() * abs(effect))
    if not scale < _MOST:
        raise ValueError(
            f"effect is {effect}, where units differ by {math.sqrt(square):.3g}: no number of them "
            "tells so small a difference; give a larger one, or correct profit"
        )
    found = norm.ppf(power) * math.sqrt(throw)
    once = norm.ppf(1 - alpha / 2) * math.sqrt(throw)
    ever = math.sqrt(coin * (1 + 1 / tuned) * (2 * math.log(1 / alpha) + math.log1p(tuned)))
    return Plan(
        units=math.ceil((max(once + found, 0.0) * scale) ** 2),
        units_sequential=WARM_UP + math.ceil((max(ever + found, 0.0) * scale) ** 2),
        effect=effect,
        ratio=float(ratio),
        deviation=math.sqrt(square),
        variance_saved=1 - float(rest @ rest) / plain if plain else 0.0,
        power=power,
        alpha=alpha,
    )


def covariate_part(
    profit: NDArray[np.float64], impressions: NDArray[np.float64], covariate: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Part of each unit's profit that a centred covariate explains, (n,), currency units.

    Formula: θ (xᵢ − x̄) Iᵢ, θ the slope of the impression-weighted regression of profit per
    impression on x (Deng et al. 2013, control variates); 0 for a covariate that does not vary.
    """
    x = covariate - (covariate @ impressions) / impressions.sum()
    spread = x**2 @ impressions
    slope = (x @ profit) / spread if spread > 0 else 0.0
    return np.asarray(slope * x * impressions)


def _check(
    profit: NDArray[np.float64],
    impressions: NDArray[np.float64],
    covariate: NDArray[np.float64] | None,
) -> None:
    named = {"profit": profit, "impressions": impressions}
    if covariate is not None:
        named["covariate"] = np.asarray(covariate, np.float64)
    for name, values in named.items():
        if values.shape != (len(profit),) or len(profit) < 2:
            raise ValueError(f"{name} has shape {values.shape}: give one value for 2 or more units")
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"{name}[{bad[0]}] is {values[bad[0]]}: give a number or leave it out")
    if (impressions < 0).any() or not impressions.sum():
        raise ValueError(f"impressions sum to {impressions.sum():g}: give 0 or more, some above 0")
