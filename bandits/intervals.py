"""Intervals of demand: quantiles of the mixture of curves that a listing is believed to have."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri

from bandits.curves import CurveBank
from bandits.evidence import Posterior

TAIL = 0.05
"""Probability outside either end of an interval."""

_LEVELS = 12  # quantiles that stand for the Gamma distribution of a level
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
    relative = torch.as_tensor(log_price).float()
    curves = bank.demand(relative).flatten(1)  # (n, m)
    weight = belief.weight.float().flatten(1)
    demand = (belief.level.float().flatten(1) * curves).clamp_min(1e-30)
    own = (weight * demand).sum(1, keepdim=True)
    shares = (np.arange(_LEVELS) + 0.5) / _LEVELS
    shape = belief.shape.float().flatten(1)
    middle_level, width = 1.0 - 1.0 / (9.0 * shape), torch.rsqrt(9.0 * shape)
    # P(less than x) <= x^k / Γ(k + 1), as e^-t <= 1: where k is small theirs would lie lower yet
    inverse = shape.reciprocal()
    least = torch.lgamma(shape + 1.0) * inverse - torch.log(shape)
    expected = (torch.log(demand / own) - _LOWEST) / _BIN  # in bins
    bins = round((_HIGHEST - _LOWEST) / _BIN)
    histogram = torch.zeros(len(demand), bins, dtype=torch.float32)
    weight = weight.expand(demand.shape)
    for share in shares.tolist():  # a level at a time: its places fit in the processor's cache
        spread = torch.add(middle_level, width, alpha=float(ndtri(share)))
        spread = spread.clamp_min_(1e-3).log_().mul_(3.0)
        torch.maximum(spread, torch.add(least, inverse, alpha=math.log(share)), out=spread)
        place = torch.add(expected, spread, alpha=1.0 / _BIN).clamp_(0, bins - 1).long()
        histogram.scatter_add_(1, place, weight)
    cumulative = histogram.double().cumsum(1)
    cumulative /= cumulative[:, -1:].clone()
    low, middle, high = (_quantile(cumulative, share) for share in (TAIL, 0.5, 1.0 - TAIL))
    off = float(ndtri(1.0 - TAIL)) * extra
    below, above = np.hypot(middle - low, off), np.hypot(high - middle, off)
    low, high = mean * np.exp(middle - below), mean * np.exp(middle + above)
    # a mean that a few hypotheses make may lie outside its own interval
    return np.minimum(low, mean), np.maximum(high, mean)


def _quantile(cumulative: torch.Tensor, share: float) -> NDArray[np.float64]:
    """Where a cumulative histogram reaches a share, straight within a bin, (n,)."""
    at = (cumulative < share).sum(1, keepdim=True).clamp_max(cumulative.shape[1] - 1)
    reached = cumulative.gather(1, at)
    before = torch.where(at > 0, cumulative.gather(1, (at - 1).clamp_min(0)), 0.0)
    part = (share - before) / (reached - before).clamp_min(1e-12)
    found = _LOWEST + _BIN * (at + part.clamp(0.0, 1.0))[:, 0]
    return np.asarray(found.numpy())
