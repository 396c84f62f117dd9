"""Intervals of demand: quantiles of the mixture of curves that a listing is believed to have."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.special import ndtri

from bandits.curves import CurveBank
from bandits.evidence import Posterior

TAIL = 0.05
"""Probability outside either end of an interval."""

_LEVELS = 12  # quantiles that stand for the Gamma distribution of a level
_LIKELY = 1e-5  # hypotheses less probable are left out: of 164, they come to a fifth of a per cent
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
    weight, level, shape = (
        column.float().flatten(1).expand(curves.shape)
        for column in (belief.weight, belief.level, belief.shape)
    )
    demand = level * curves
    own = (weight * demand).sum(1).clamp_min_(1e-30)
    weight, demand, shape = (t.flatten() for t in (weight, demand, shape))
    likely = (weight > _LIKELY).nonzero()[:, 0]  # h hypotheses of all rows
    row = likely // curves.shape[1]
    weight, demand, shape = (t[likely] for t in (weight, demand, shape))
    middle_level, width = 1.0 - 1.0 / (9.0 * shape), torch.rsqrt(9.0 * shape)
    bins = round((_HIGHEST - _LOWEST) / _BIN)
    expected = (torch.log(demand.clamp_min_(1e-30) / own[row]) - _LOWEST) / _BIN  # in bins
    # P(less than x) <= x^k / Γ(k + 1), as e^-t <= 1: where k is small theirs would lie lower yet
    inverse = shape.reciprocal()
    least = expected + (torch.lgamma(shape + 1.0) * inverse - torch.log(shape)) / _BIN
    first_bin = row * bins
    histogram = torch.zeros(len(curves) * bins, dtype=torch.float32)
    for share in ((np.arange(_LEVELS) + 0.5) / _LEVELS).tolist():
        spread = torch.add(middle_level, width, alpha=float(ndtri(share))).clamp_min_(1e-3)
        place = torch.add(expected, spread.log_(), alpha=3.0 / _BIN)
        torch.maximum(place, torch.add(least, inverse, alpha=math.log(share) / _BIN), out=place)
        histogram.scatter_add_(0, place.clamp_(0, bins - 1).long().add_(first_bin), weight)
    low, middle, high = _quantiles(histogram.view(-1, bins), (TAIL, 0.5, 1.0 - TAIL))
    off = float(ndtri(1.0 - TAIL)) * extra
    below, above = np.hypot(middle - low, off), np.hypot(high - middle, off)
    low, high = mean * np.exp(middle - below), mean * np.exp(middle + above)
    # a mean that a few hypotheses make may lie outside its own interval
    return np.minimum(low, mean), np.maximum(high, mean)


def _quantiles(histogram: torch.Tensor, shares: Sequence[float]) -> NDArray[np.float64]:
    """Where histograms (n, bins) reach shares of their sums, straight within a bin, (shares, n)."""
    cumulative = F.pad(histogram.cumsum(1), (1, 0))
    asked = cumulative[:, -1:] * torch.tensor(shares)  # (n, shares)
    at = torch.searchsorted(cumulative, asked).clamp_(1, histogram.shape[1])
    before, reached = cumulative.gather(1, at - 1), cumulative.gather(1, at)
    part = ((asked - before) / (reached - before).clamp_min(1e-12)).clamp(0.0, 1.0)
    return np.asarray((_LOWEST + _BIN * (at - 1 + part.double())).T.numpy())
