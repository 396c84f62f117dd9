"""Choice rules: from scores to a true propensity for every arm, and the draw."""

import numpy as np
import torch
from numpy.typing import NDArray

_FINEST = 2.0**-53  # step of the uniform numbers by which arms are drawn


def with_floor(
    greedy: NDArray[np.float64], allowed: NDArray[np.bool_], floor: float
) -> NDArray[np.float64]:
    """Propensities (n, k) mixed with an even draw over the allowed arms."""
    if not 0 < floor <= 1:
        raise ValueError(f"floor is {floor}: give the share spread over all arms, in (0, 1]")
    even = allowed / allowed.sum(1, keepdims=True)
    mixed = (1 - floor) * greedy + floor * even
    return np.asarray(mixed / mixed.sum(1, keepdims=True))


def _gaps(scores: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Shortfall of each arm as a share of the best score, (n, k); inf where not allowed."""
    masked = np.where(allowed, scores, -np.inf)
    best = masked.max(1, keepdims=True)
    scale = np.maximum(np.abs(best), np.finfo(np.float64).tiny)
    return np.asarray((best - masked) / scale)


def softmax(
    scores: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    *,
    temperature: float = 0.02,
    floor: float = 0.01,
) -> NDArray[np.float64]:
    """Boltzmann propensities over relative shortfall, mixed with an even draw.

    Formula: p ∝ exp(−gap / temperature), gap = (best − score) / |best|; then
    (1 − floor) p + floor / k. Relative, so that one temperature serves every price level.

    Args:
        scores: profit per impression, (n, k). allowed: bool (n, k), at least one a row.
        temperature: shortfall at which an arm is e times less likely than the best.
        floor: share of the draws spread evenly, in (0, 1].

    Returns: float64 (n, k); rows sum to 1, above 0 wherever allowed, 0 elsewhere.
    """
    gaps = np.minimum(_gaps(scores, allowed), 700.0 * temperature)  # no gap overflows
    weights = np.exp(-gaps / temperature) * allowed
    return with_floor(weights / weights.sum(1, keepdims=True), allowed, floor)


def inverse_gap(
    scores: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    *,
    gamma: float = 100.0,
    floor: float = 0.01,
) -> NDArray[np.float64]:
    """Inverse-gap weighting over relative shortfall, mixed with an even draw.

    Formula: p = 1 / (k + γ gap) for every arm but the best, which takes the rest
    (Foster & Rakhlin 2020, "Beyond UCB", algorithm 1, eq. 3, with the gap made relative).

    Args and returns: as `softmax`; gamma: larger explores less.
    """
    gaps = _gaps(scores, allowed)
    count = allowed.sum(1, keepdims=True)
    weights = np.where(allowed, 1.0 / (count + gamma * gaps), 0.0)
    rows = np.arange(len(gaps))
    best = gaps.argmin(1)
    weights[rows, best] = 0.0
    weights[rows, best] = 1.0 - weights.sum(1)
    return with_floor(weights, allowed, floor)


def best_shares(
    values: torch.Tensor, weight: torch.Tensor, allowed: torch.Tensor
) -> NDArray[np.float64]:
    """Probability that each arm is the best, over weighed hypotheses, float64 (n, k).

    The propensities of Thompson sampling (Thompson 1933), exact where hypotheses are finite and
    differ in what they say of the best arm through `values` alone.

    Args:
        values: gain of each arm under each hypothesis, (n, k, m). weight: of them, (n, m).
        allowed: bool (n, k), at least one a row.
    """
    best = torch.where(allowed[:, :, None], values, -torch.inf).argmax(1)  # (n, m)
    share = torch.zeros(values.shape[:2], dtype=weight.dtype).scatter_add_(1, best, weight)
    return np.asarray((share / share.sum(1, keepdim=True)).double().numpy())


def within_budget(
    propensities: NDArray[np.float64],
    expected: NDArray[np.float64],
    allowed: NDArray[np.bool_],
    budget: float,
) -> NDArray[np.float64]:
    """Propensities drawn towards the best estimate until exploring costs no more than a share.

    Formula: (1 − λ) greedy + λ p, with the largest λ <= 1 at which the expected gain is at least
    (1 − budget) times the best arm's.

    Args:
        expected: estimated gain, (n, k). budget: share of the best arm's gain, in (0, 1].
    """
    if not 0 < budget <= 1:
        raise ValueError(f"budget is {budget}: give a share of the expected gain, in (0, 1]")
    cost = (propensities * np.where(allowed, _gaps(expected, allowed), 0.0)).sum(1, keepdims=True)
    share = np.minimum(1.0, budget / np.maximum(cost, np.finfo(np.float64).tiny))
    # where nothing is expected to be gained nothing may be spent; the draw knows no finer chances
    share = np.where(share < _FINEST, 0.0, share)
    greedy = best_arm(expected, allowed)
    drawn_in = greedy + share * (propensities - greedy)
    return np.where(share < 1.0, drawn_in, propensities)


def best_arm(scores: NDArray[np.float64], allowed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """All probability on the best allowed arm, float64 (n, k): no exploration."""
    chosen = np.where(allowed, scores, -np.inf).argmax(1)
    return np.asarray(np.eye(scores.shape[1])[chosen])


def uniforms(ids: NDArray[np.uint64]) -> NDArray[np.float64]:
    """One uniform number in [0, 1) from each decision's id, so that a draw can be recomputed.

    Args:
        ids: 128-bit ids as two words, uint64 (n, 2).

    Formula: the two words through the finaliser of SplitMix64 (Steele, Lea & Flood 2014,
    figure 19), top 53 bits.
    """
    with np.errstate(over="ignore"):
        z = ids[:, 0] * np.uint64(0x9E3779B97F4A7C15) + ids[:, 1]
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return np.asarray((z >> np.uint64(11)).astype(np.float64) * _FINEST)


def draw(propensities: NDArray[np.float64], uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Arm drawn in each row by inversion of the cumulative propensities, int64 (n,)."""
    cumulative = propensities.cumsum(1)
    cumulative /= cumulative[:, -1:]
    arm = (cumulative <= uniform[:, None]).sum(1)
    return np.asarray(arm, np.int64)
