"""The linear-UCB head: ridge regression with its uncertainty in closed form."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scores:
    """Estimates of the head, one entry per scored row.

    Attributes:
        mean: estimated target, (n,) or (n, k).
        width: its standard deviation before scaling by noise, sqrt(xᵀ A⁻¹ x), same shape.
    """

    mean: torch.Tensor
    width: torch.Tensor


class LinearUCB:
    r"""Linear model of a target in features, with exact sufficient statistics.

    Formula: with weights w, features x and targets y,

        A = λ I + Σ w x xᵀ,   b = λ θ₀ + Σ w x y,   θ̂ = A⁻¹ b,
        estimate = xᵀ θ̂,      width = sqrt(xᵀ A⁻¹ x).

    An optimistic score is estimate + α · width. A and b add: the statistics of two workers merge
    by addition. `groups` > 1 keeps that many independent heads (disjoint LinUCB: one per arm).

    Args:
        dim: number of features, d.
        ridge: λ > 0. A never-updated head has A = λ I, so width = |x| / sqrt(λ).
        groups: independent heads, g.
        prior_mean: θ₀, (d,); zeros unless given.
        half_life: time after which an observation counts half, in the unit of `at`; None keeps
            everything. Forgetting decays what was observed and never the prior λ I.
        device: where the statistics live.
        dtype: type of scores; statistics are always float64.

    References:
        Li, Chu, Langford & Schapire 2010, "A contextual-bandit approach to personalized news
        article recommendation", algorithm 1 (disjoint), with the ridge of section 3.1 free.
    """

    def __init__(
        self,
        dim: int,
        *,
        ridge: float = 1.0,
        groups: int = 1,
        prior_mean: NDArray[np.float64] | None = None,
        half_life: float | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        if ridge <= 0:
            raise ValueError(f"ridge is {ridge}: it must be above 0, or A is singular at the start")
        if half_life is not None and half_life <= 0:
            raise ValueError(f"half_life is {half_life}: it must be above 0, or None to keep all")
        self.dim, self.ridge, self.groups, self.half_life = dim, ridge, groups, half_life
        self.device, self.dtype = torch.device(device), dtype
        theta = np.zeros(dim) if prior_mean is None else np.asarray(prior_mean, np.float64)
        self.prior_mean = torch.as_tensor(theta, device=self.device)
        self.gram = torch.zeros(groups, dim, dim, dtype=torch.float64, device=self.device)
        self.moment = torch.zeros(groups, dim, dtype=torch.float64, device=self.device)
        self.as_of = -math.inf  # time to which the statistics are decayed
        self._forget_solution()

    def _forget_solution(self) -> None:
        self._solved: tuple[torch.Tensor, torch.Tensor] | None = None
        self._lenses: torch.Tensor | None = None

    def update(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        weight: torch.Tensor | None = None,
        *,
        group: torch.Tensor | None = None,
        at: torch.Tensor | None = None,
    ) -> None:
        """Add observations; the result depends neither on their order nor on their batching.

        Args:
            x: features (m, d). y: targets (m,). weight: (m,), 1 unless given.
            group: head that each row belongs to, int64 (m,); 0 unless given.
            at: times (m,), needed with `half_life`; may be out of order.
        """
        if len(x) == 0:
            return
        x64 = x.to(self.device, torch.float64)
        y64 = y.to(self.device, torch.float64)
        w = torch.ones_like(y64) if weight is None else weight.to(self.device, torch.float64)
        if self.half_life is not None:
            if at is None:
                raise ValueError("at is missing: with half_life every observation needs its time")
            w = w * self._decay_to(at.to(self.device, torch.float64))
        weighted = x64 * w[:, None]  # (m, d)
        if self.groups == 1:
            self.gram[0] += weighted.T @ x64
            self.moment[0] += weighted.T @ y64
        else:
            if group is None:
                raise ValueError("group is missing: say which of the heads each row updates")
            rows = group.to(self.device)
            self.gram.index_add_(0, rows, weighted[:, :, None] * x64[:, None, :])
            self.moment.index_add_(0, rows, weighted * y64[:, None])
        self._forget_solution()

    def _decay_to(self, at: torch.Tensor) -> torch.Tensor:
        """Move the statistics on to the latest time; the weight left to each new row, (m,)."""
        assert self.half_life is not None
        latest = max(self.as_of, float(at.max()))
        if math.isfinite(self.as_of):
            kept = 0.5 ** ((latest - self.as_of) / self.half_life)
            self.gram *= kept
            self.moment *= kept
        self.as_of = latest
        return torch.pow(0.5, (latest - at) / self.half_life)

    def merge(self, other: "LinearUCB") -> None:
        """Add another head's observations (same dim, groups, ridge, prior; no forgetting)."""
        mine = (self.dim, self.groups, self.ridge, self.half_life)
        if mine != (other.dim, other.groups, other.ridge, other.half_life) or self.half_life:
            raise ValueError(
                "heads differ in dim, groups, ridge or half_life: merge equal heads, no forgetting"
            )
        self.gram += other.gram.to(self.device)
        self.moment += other.moment.to(self.device)
        self._forget_solution()

    def restore(self, gram: torch.Tensor, moment: torch.Tensor, as_of: float) -> None:
        """Take over statistics saved earlier: `gram` (g, d, d), `moment` (g, d), `as_of`."""
        if gram.shape != self.gram.shape or moment.shape != self.moment.shape:
            raise ValueError(
                f"statistics of shape {tuple(gram.shape)}: {tuple(self.gram.shape)} wanted"
            )
        # copies: later updates are in place and may not reach whoever handed these over
        self.gram = gram.to(self.device, torch.float64, copy=True)
        self.moment = moment.to(self.device, torch.float64, copy=True)
        self.as_of = as_of
        self._forget_solution()

    def solve(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Cholesky factor L of A, (g, d, d) float64, and θ̂, (g, d) float64."""
        if self._solved is None:
            eye = torch.eye(self.dim, dtype=torch.float64, device=self.device)
            factor = torch.linalg.cholesky(self.gram + self.ridge * eye)
            moment = self.moment + self.ridge * self.prior_mean
            theta = torch.cholesky_solve(moment[:, :, None], factor)[:, :, 0]
            self._solved = (factor, theta)
        return self._solved

    def score(self, x: torch.Tensor) -> Scores:
        """Estimates with widths for features (n, d), or (n, g, d): one row per head.

        With one head (n, k, d) is accepted too: k arms a row, all scored by it.
        """
        lenses = self._lenses_of()
        x = x.to(self.device, self.dtype)
        seen = x @ lenses[0] if self.groups == 1 else torch.einsum("ngd,gde->nge", x, lenses)
        return Scores(seen[..., 0], torch.linalg.vector_norm(seen[..., 1:], dim=-1))

    def _lenses_of(self) -> torch.Tensor:
        """[θ̂ | L⁻ᵀ] of each head, (g, d, 1 + d): one product gives estimate and whitened row.

        L⁻ᵀ is solved for once for each state of the statistics, not for each row scored.
        """
        if self._lenses is None:
            factor, theta = self.solve()
            eye = torch.eye(self.dim, dtype=torch.float64, device=self.device)
            white = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
            self._lenses = torch.cat([theta[:, :, None], white.mT], dim=2).to(self.dtype)
        return self._lenses
