"""What sales at each arm would teach of a listing's demand, in money."""

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.curves import BLOCK, CurveBank
from bandits.dispersion import PLAIN, Chance
from bandits.evidence import Posterior
from bandits.profile import STEP, table

LOOK_DAYS = 4.0
"""Days of sales at one price by which a listing is judged: one day of a quiet listing teaches too
little to change a price, and the worth of many such days would never be seen."""

CANDIDATES = 10
"""Arms of a row that are looked at; the others lie too far off to be learned from or to win."""

_SMALLEST = 1e-30  # factor by which a look moves demand down, at most

_AT, _SHARE = np.polynomial.hermite_e.hermegauss(5)  # outcomes of a look, in deviations


def worth_of_learning(
    bank: CurveBank,
    belief: Posterior,
    log_price: NDArray[np.float64],
    demand: NDArray[np.float64],
    gain: NDArray[np.float64],
    candidates: NDArray[np.int64],
    impressions: NDArray[np.float64],
    device: torch.device,
    chance: Chance = PLAIN,
) -> NDArray[np.float64]:
    r"""How much the best gain is expected to rise by `LOOK_DAYS` of sales at each arm.

    The knowledge gradient for correlated beliefs (Frazier, Powell & Dayanik, "The
    Knowledge-Gradient Policy for Correlated Normal Beliefs", INFORMS J. Computing 2009, section
    3), with demand moving log-normally: with r_ij the relative covariance of demand at arms i and
    j over the hypotheses, and u_i the units a look at i is expected to sell, it moves demand at j
    by the factor m_ij = exp(s_ij Z − s_ij² / 2), where Z is standard normal. With v_j the expected
    gain per impression at j,

        s_ij = r_ij / √(r_ii + s / u_i + φ / `LOOK_DAYS`)
        worth of i = E max_j v_j m_ij − max_j v_j

    Args:
        belief: about n listings. log_price: from their anchors, (n, k).
        demand: units per impression at each arm, (n, k). gain: of a unit sold there, (n, k),
            -inf at arms that may not be drawn.
        candidates: arms looked at, int64 (n, c), of which one at least may be drawn.
        impressions: expected a day, (n,), above 0.
        chance: how units vary, of orders of s units and days off by φ.

    Returns: gain per impression, (n, k), 0 for arms that are no candidates.
    """
    worth = np.zeros_like(demand)
    for start in range(0, len(worth), BLOCK):
        part = slice(start, start + BLOCK)
        arms = candidates[part]
        price, units, money = (
            torch.from_numpy(np.take_along_axis(column[part], arms, 1)).float().to(device)
            for column in (log_price, demand * (impressions * LOOK_DAYS)[:, None], demand * gain)
        )
        covariance = _covariance(bank, belief, part, price)
        own = covariance.diagonal(dim1=1, dim2=2)[:, :, None]
        noise = chance.order_size / units.clamp_min(1e-9)[:, :, None]
        noise = noise + chance.overdispersion / LOOK_DAYS
        moved = covariance / torch.sqrt(own.clamp_min(0.0) + noise)
        best = _best(moved, money)
        np.put_along_axis(worth[part], arms, best.double().cpu().numpy(), 1)
    return worth


def _covariance(
    bank: CurveBank, belief: Posterior, part: slice, price: torch.Tensor
) -> torch.Tensor:
    """Relative covariance of demand between prices (n, c) over hypotheses and levels, (n, c, c)."""
    grid, by_price = table(bank, price.device)
    place = ((price - grid[0]) / STEP).round().long().clamp(0, len(grid) - 1)
    curves = by_price[place]  # (n, c, m)
    weight, level, shape = (
        column[part].double().flatten(1) for column in (belief.weight, belief.level, belief.shape)
    )
    # before they are narrowed: the square of a level that hardly counts may be beyond a float32
    first, square = (
        moment.float().to(price.device)
        for moment in (weight * level, weight * level**2 * (1.0 + 1.0 / shape))
    )
    mean = torch.bmm(curves, first[:, :, None]).clamp_min(1e-9)  # (n, c, 1)
    product = torch.bmm(curves * square[:, None, :], curves.transpose(1, 2))
    return product / (mean * mean.transpose(1, 2)) - 1.0


def _best(moved: torch.Tensor, money: torch.Tensor) -> torch.Tensor:
    """Rise of the best arm's gain by a look at each, (n, c), given s (n, c, c) and gains (n, c)."""
    first = torch.zeros_like(money)
    # the same sums without the choice: what the quadrature is off cancels
    without = torch.zeros_like(moved)
    for at, share in zip(_AT.tolist(), (_SHARE / _SHARE.sum()).tolist(), strict=True):
        # not to 0: an arm that may not be drawn has a gain of -inf, and is to keep it
        factor = torch.exp(moved * (at - moved / 2)).clamp_min(_SMALLEST)
        gain = money[:, None, :] * factor
        first += share * gain.amax(2)
        without += share * gain
    return (first - without.amax(2)).clamp_min(0.0)
