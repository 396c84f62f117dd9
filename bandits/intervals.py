"""Intervals of demand: quantiles of the mixture of curves that a listing is believed to have."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from bandits.curves import CurveBank
from bandits.evidence import Posterior

TAIL = 0.05
"""Probability outside either end of an interval."""

_LEVELS = 8  # quantiles that stand for the Gamma distribution of a level
_LOWEST, _HIGHEST, _BIN = -9.0, 3.0, 0.04  # of log demand around the mean


def demand_intervals(
    bank: CurveBank,
    belief: Posterior,
    log_price: NDArray[np.float64],
    mean: NDArray[np.float64],
    extra: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of 90 % intervals of units per impression, (n,) each.

    Where little is known the belief is far from any one distribution: some hypotheses expect next
    to no demand. So its quantiles are read from a histogram of log demand over hypotheses and
    levels, whose Gamma quantiles follow Wilson & Hilferty, "The distribution of chi-square", PNAS
    1931, and are moved to the mean that is believed after all corrections.

    Args:
        log_price: from the anchors, (n,). mean: units per impression believed there, (n,).
        extra: standard deviation of corrections relative to the mean, (n,).
    """
    relative = torch.as_tensor(log_price)
    curves = bank.demand(relative).flatten(1)  # (n, m)
    weight = belief.weight.flatten(1)
    demand = (belief.level.flatten(1) * curves).clamp_min(1e-300)
    own = (weight * demand).sum(1, keepdim=True)
    normal = torch.as_tensor(ndtri((np.arange(_LEVELS) + 0.5) / _LEVELS))
    shape = 9.0 * belief.shape.flatten(1)[:, :, None]
    spread = (1.0 - 1.0 / shape + normal / torch.sqrt(shape)).clamp_min(0.05)  # (n, m, levels)
    value = torch.log(demand / own)[:, :, None] + 3.0 * torch.log(spread)
    bins = round((_HIGHEST - _LOWEST) / _BIN)
    place = ((value - _LOWEST) / _BIN).long().clamp_(0, bins - 1).flatten(1)
    mass = (weight[:, :, None] / _LEVELS).expand(value.shape).flatten(1)
    histogram = torch.zeros(len(value), bins, dtype=mass.dtype).scatter_add_(1, place, mass)
    cumulative = histogram.cumsum(1) / histogram.sum(1, keepdim=True)
    low, middle, high = (_quantile(cumulative, share) for share in (TAIL, 0.5, 1.0 - TAIL))
    off = float(ndtri(1.0 - TAIL)) * extra
    below, above = np.hypot(middle - low, off), np.hypot(high - middle, off)
    return mean * np.exp(middle - below), mean * np.exp(middle + above)


def _quantile(cumulative: torch.Tensor, share: float) -> NDArray[np.float64]:
    """Where a cumulative histogram reaches a share, straight within a bin, (n,)."""
    at = (cumulative < share).sum(1, keepdim=True).clamp_max(cumulative.shape[1] - 1)
    reached = cumulative.gather(1, at)
    before = torch.where(at > 0, cumulative.gather(1, (at - 1).clamp_min(0)), 0.0)
    part = (share - before) / (reached - before).clamp_min(1e-12)
    found = _LOWEST + _BIN * (at + part.clamp(0.0, 1.0))[:, 0]
    return np.asarray(found.numpy())
