"""What an adapter is trained to do, each loss a function of one batch of unit vectors.

Sizes: b products in the batch, d dimensions, t targets. Targets are standardised; NaN is unknown.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

STEEP = 2.0
"""Errors above so many standard deviations count linearly (Huber 1964): prices come with slips."""


def linear_head(vectors: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Targets from unit vectors, (b, t).

    A unit vector's entries are about 1/√d: they are scaled up to about 1/3, which keeps the head's
    own weights small.

    Args:
        vectors: (b, d). weight: (t, d). bias: (t,).
    """
    return F.linear(vectors * (math.sqrt(vectors.shape[1]) / 3), weight, bias)


def head_loss(
    vectors: Tensor, weight: Tensor, bias: Tensor, target: Tensor, trust: Tensor
) -> Tensor:
    """Error of `linear_head`, each target apart, (t,).

    Args:
        vectors: (b, d). weight: (t, d). bias: (t,). target, trust: (b, t), trust 0 to 1.
    """
    return _error(linear_head(vectors, weight, bias), target, trust)


def neighbour_loss(
    vectors: Tensor, group: Tensor, target: Tensor, trust: Tensor, temperature: float
) -> Tensor:
    """Error of predicting each product from the others in the batch, weighted by likeness, (t,).

    Of product i the prediction is Σⱼ softmaxⱼ(cos(i, j) / temperature) · yⱼ over products of other
    groups, which is neighbourhood components analysis for regression (Goldberger et al. 2005,
    eq. 1; Keller et al. 2006): what the vectors are used for afterwards.

    Args:
        vectors: (b, d). group: variants of one product share a number, int64 (b,).
        target, trust: (b, t).
    """
    like = vectors @ vectors.T / temperature  # (b, b)
    like = like.masked_fill(group[:, None] == group[None, :], -torch.inf)
    known = (~target.isnan()).to(like.dtype) * trust
    # a target's neighbours are those of which it is known: one softmax for each target
    share = torch.exp(like - like.amax(1, keepdim=True).nan_to_num(neginf=0.0).detach())
    total = share @ known
    predicted = share @ (known * target.nan_to_num()) / total.clamp(min=1e-12)
    return _error(predicted, target.masked_fill(total <= 1e-12, torch.nan), trust)


def together_loss(vectors: Tensor, partners: Tensor, temperature: float) -> Tensor:
    """Whether each product finds its partner in the basket among all partners, a scalar.

    InfoNCE with the other rows as negatives (van den Oord et al. 2018, eq. 4), both ways.

    Args:
        vectors, partners: (p, d), row i of each bought together.
    """
    like = vectors @ partners.T / temperature
    own = torch.arange(len(like), device=like.device)
    return (F.cross_entropy(like, own) + F.cross_entropy(like.T, own)) / 2


def meaning_loss(vectors: Tensor, before: Tensor) -> Tensor:
    """How far similarities of general sentences have moved from the base model's, a scalar.

    Mean squared change of the Gram matrix: similarity-preserving distillation (Tung and Mori 2019,
    eq. 4), in hundredths so that a change of 0.1 counts as one.

    Args:
        vectors, before: (s, d), of the same sentences.
    """
    return 100 * (vectors @ vectors.T - before @ before.T).square().mean()


def balanced(losses: Tensor, log_variance: Tensor) -> Tensor:
    """One loss of several, weighted by how noisy each target proves to be, a scalar.

    Σ exp(-s) · L + s with s learned (Kendall et al. 2018, eq. 7 with s = log σ², both terms
    doubled). A loss that is NaN, no target of its kind being in the batch, counts for nothing.

    Args:
        losses, log_variance: (t,).
    """
    found = torch.exp(-log_variance) * losses.nan_to_num() + log_variance
    return torch.where(losses.isnan(), 0.0, found).sum()


def _error(predicted: Tensor, target: Tensor, trust: Tensor) -> Tensor:
    """Huber's error of each target, weighted by trust, (t,); NaN where none is known."""
    known = ~target.isnan()
    weight = torch.where(known, trust, 0.0)
    error = 2 * F.huber_loss(predicted, torch.where(known, target, predicted.detach()),
                             reduction="none", delta=STEEP)  # fmt: skip
    total = weight.sum(0)
    # divided before the choice: a division by NaN would spoil the gradient of what is not chosen
    mean = (weight * error).sum(0) / total.clamp(min=1e-12)
    return torch.where(total > 0, mean, torch.nan)
