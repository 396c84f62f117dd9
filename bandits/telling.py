"""What decisions tell with all their outcomes: of their listing, of the day, of all listings."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammainc

from bandits.records import Outcomes

CORRECTED = 20.0
"""The head may raise or lower the own curve by this factor at most."""

RAREST = 1e-4
"""Units per impression below which an outcome's weight in the head grows no further: no sale
where the curve expected next to none may outweigh all others."""

SUREST = 0.1
"""Standard deviation of an own curve, as a share of it, below which none is believed: one decision
tells all listings 1 / SUREST² = 100 units' worth at most, a third of the head's prior."""

PASSED = 5.0
"""Units that an outcome teaches all others, whatever was expected."""

# deviations of an own curve, as a share of it, at which units tell half of the day, and nothing:
# before the first sales all curves may be off by the same
_TELLS, _UNSURE = 0.2, 0.5

_FAINTEST = 1e-200  # probability of selling out whose ratio to another is not lost in rounding


def told_so_far(
    outcomes: Outcomes, before: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Impressions, units, and impressions times what their days were, that each decision has told
    of demand with an outcome, and before it, (m, 3).
    """
    shown = outcomes.impressions
    now = np.stack([shown, outcomes.units, shown * outcomes.day, outcomes.returned], axis=1)
    earlier = np.zeros_like(now) if before is None else before.astype(np.float64)
    together = now + earlier
    for told in (together, earlier):
        # of what was taken back the last digits stay: units would be told of next to nobody
        told[told[:, 0] <= 0, 2] = 0.0
        told[:, [0, 2]] *= could_buy(told[:, 0], told[:, 1] + told[:, 3], outcomes)[:, None]
    return together[:, :3], earlier[:, :3]


def could_buy(
    impressions: NDArray[np.float64], sold: NDArray[np.float64], outcomes: Outcomes
) -> NDArray[np.float64]:
    r"""Share of a decision's impressions that came while units were left, as far as is known, (m,).

    Who looks at what is sold out buys nothing, whatever he would have paid. Where all c units that
    were left have been sold to n impressions, λ units per impression being expected, the last one
    was taken after N ~ Gamma(c, λ) of them, of which is known that N ≤ n:

        E[N | N ≤ n] = c / λ · P(c + 1, λ n) / P(c, λ n),    P the regularised incomplete gamma

    (the expected complete data of Dempster, Laird & Rubin, JRSS B 1977, eq. 2.17, for a Poisson
    process that is watched until its cth event). Where more was sold than was left, more had come.

    Args:
        impressions, sold: all that is known of each decision, also units that came back: who looked
            after the last was sold found none, (m,).
    """
    left = outcomes.stock
    share = np.where(left == 0, 0.0, 1.0)
    rows = np.flatnonzero((left > 0) & (sold == left) & (impressions > 0))
    c, wanted = left[rows], outcomes.expected[rows] * impressions[rows]
    more = gammainc(c + 1.0, wanted)
    share[rows] = c / (c + 1.0)
    likely = more > _FAINTEST  # else it took nearly all of them, and the limit is near
    c, wanted, rows = c[likely], wanted[likely], rows[likely]
    share[rows] = c / wanted * more[likely] / gammainc(c, wanted)
    return share


def told_of_days(outcomes: Outcomes, before: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Units told with impressions, expected of a usual day, and told without, as `DayEffects` adds
    them, (3, m).

    Listings whose curve says little tell what they themselves are, not what the day is; and one
    mistyped outcome, or a curve that was far off, is not everybody's day.
    """
    shown = outcomes.impressions
    now = np.stack([shown, outcomes.units, outcomes.returned], axis=1)
    earlier = np.zeros_like(now) if before is None else before[:, [0, 1, 3]].astype(np.float64)
    curve = outcomes.features[:, 0].astype(np.float64)
    doubt = np.divide(outcomes.curve_sd, curve, out=np.full(len(curve), np.inf), where=curve > 0)
    tells = (doubt < _UNSURE) / (1.0 + (doubt / _TELLS) ** 2)
    usual = curve * outcomes.passing / outcomes.day_expected  # units per impression

    def all_told(told: NDArray[np.float64]) -> NDArray[np.float64]:
        units = told[:, 1]
        expected = usual * told[:, 0] * could_buy(told[:, 0], units + told[:, 2], outcomes)
        near = expected <= CORRECTED * (np.maximum(units, 0.0) + PASSED)
        # nor is what is taken back beyond what was sold: it would hide what all others sell
        bounded = np.clip(units, 0.0, CORRECTED * expected + PASSED)
        # until some are known to have looked, units tell nothing
        return np.asarray(tells * near * (expected > 0) * np.stack([bounded, expected]))

    units, expected = all_told(now + earlier) - all_told(earlier)
    return np.stack([units * (shown != 0), expected, units * (shown == 0)])


def told_of_all(
    curve: torch.Tensor, curve_sd: torch.Tensor, impressions: torch.Tensor, units: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """What decisions tell of the demand of all listings: units per impression, and the variance
    around the own curve, (m,) each.

    Args:
        curve, curve_sd: the own curve as decided and its standard deviation, units per impression,
            (m,). impressions: above 0, (m,). units: net of returns, (m,).
    """
    expected = curve.clamp_min(RAREST)
    # the variance around the curve is Poisson's, plus what the curve itself did not know: what
    # the listing's own evidence is about to explain must not be learned by all others
    variance = expected / impressions + curve_sd.clamp_min(SUREST * expected) ** 2
    # sales beyond any correction show a wrong curve, which is the listing's own affair; a few
    # units pass whatever was expected, or decisions of one impression would not
    rate, passed = units / impressions, PASSED / impressions
    bounded = rate.clamp(curve / CORRECTED - passed, CORRECTED * expected + passed)
    # too high a curve expects units by the thousand, and would weigh as many: what it was wrong
    # by is no less uncertain than that
    wrong = torch.where(rate < bounded, curve - rate, 0.0)
    return bounded, variance + wrong**2
