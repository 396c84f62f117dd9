"""The linear-UCB head: ridge regression with its uncertainty in closed form."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.roots import STEPS, Floats, Solution, cholesky

_BLOCK = 1 << 20
"""Rows scored at a time on an accelerator: their image takes 4 d MiB in float32."""


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
        self._on_cpu = self.device.type == "cpu"
        self._numpy_dtype = torch.empty(0, dtype=dtype).numpy().dtype
        theta = np.zeros(dim) if prior_mean is None else np.asarray(prior_mean, np.float64)
        self.prior_mean = torch.as_tensor(theta, device=self.device)
        self.gram = torch.zeros(groups, dim, dim, dtype=torch.float64, device=self.device)
        self.moment = torch.zeros(groups, dim, dtype=torch.float64, device=self.device)
        self.as_of = -math.inf  # time to which the statistics are decayed
        self._forget_solution()

    def _forget_solution(self) -> None:
        self._solved: tuple[torch.Tensor, torch.Tensor] | None = None
        self._lenses: tuple[torch.Tensor, torch.Tensor] | None = None  # on an accelerator
        self._solutions: list[Solution | None] = [None] * self.groups  # on the CPU

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
        rows = x.shape[0]
        if rows == 0:
            return
        if self.groups > 1 and group is None:
            raise ValueError("group is missing: say which of the heads each row updates")
        if rows == 1 and self._step(x, y, weight, group):
            return
        x64 = x.detach().to(self.device, torch.float64)
        y64 = y.to(self.device, torch.float64)
        w = None if weight is None else weight.to(self.device, torch.float64)
        if self.half_life is not None:
            if at is None:
                raise ValueError("at is missing: with half_life every observation needs its time")
            left = self._decay_to(at.to(self.device, torch.float64))
            w = left if w is None else w * left
        weighted = x64 if w is None else x64 * w[:, None]  # (m, d)
        if group is None:
            self._add(0, weighted, x64, y64)
        else:
            heads = group.to(self.device)
            for g in torch.unique(heads).tolist():
                mine = heads == g
                self._add(g, weighted[mine], x64[mine], y64[mine])
        self._solved = self._lenses = None

    def _add(self, group: int, weighted: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> None:
        if self._on_cpu:  # numpy sees that xᵀ x is symmetric, and takes half the time
            self.gram[group].numpy()[:] += weighted.numpy().T @ x.numpy()
        else:
            self.gram[group] += weighted.T @ x
        self.moment[group] += weighted.T @ y
        self._solutions[group] = None

    def _step(
        self,
        x: torch.Tensor,
        y: torch.Tensor,
        weight: torch.Tensor | None,
        group: torch.Tensor | None,
    ) -> bool:
        """Add one row to a head solved already, in O(d²); False where it has to be solved anew."""
        head = self._solutions[0 if group is None else int(group)]
        if head is None or head.steps == STEPS or self.half_life is not None:
            return False
        row = x.numpy(force=True)[0].astype(np.float64)
        head.add(row, float(y), 1.0 if weight is None else float(weight))
        self._solved = None
        return True

    def _decay_to(self, at: torch.Tensor) -> torch.Tensor:
        """Move the statistics on to the latest time; the weight left to each new row, (m,)."""
        assert self.half_life is not None
        latest = max(self.as_of, float(at.max()))
        if math.isfinite(self.as_of):
            kept = 0.5 ** ((latest - self.as_of) / self.half_life)
            self.gram *= kept
            self.moment *= kept
            self._forget_solution()
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
            factor, failed = torch.linalg.cholesky_ex(self.gram + self.ridge * eye)
            if failed.any():
                rounded = [cholesky(gram, self.ridge) for gram in self.gram.numpy(force=True)]
                factor = torch.as_tensor(np.stack(rounded), device=self.device)
            moment = self.moment + self.ridge * self.prior_mean
            theta = torch.cholesky_solve(moment[:, :, None], factor)[:, :, 0]
            self._solved = (factor, theta)
        return self._solved

    def prepare(self, many: bool = False) -> None:
        """Solve for what the next scores read, now rather than then.

        Args:
            many: for large batches, too: until statistics change, several threads may score any.
                What single rows have renewed is then solved for anew, at ten times their price.
        """
        if self._on_cpu:
            for group in range(self.groups):
                solution = self._solution(group)
                if many:
                    solution.settle()
                else:
                    solution.root()
        else:
            self._lenses_of()

    def score(self, x: torch.Tensor) -> Scores:
        """Estimates with widths for features (n, d), or (n, g, d): one row per head.

        With one head (n, k, d) is accepted too: k arms a row, all scored by it. With several,
        (n, d) is accepted too: each of them scores every row, (n, g).
        """
        if self._on_cpu:
            mean, width, shape = self._measured(x)
            return Scores(*(torch.from_numpy(found.reshape(shape)) for found in (mean, width)))
        return self._score_by_products(x.detach().to(self.device, self.dtype))

    def choose(self, x: torch.Tensor, alpha: float = 1.0) -> torch.Tensor:
        """The arm with the highest mean + α · width, int64 (n,); the first of equals.

        Args:
            x: as for `score`: (n, k, d) with one head, (n, g, d) or (n, d) with several.
            alpha: optimism, in standard deviations of the noise; 0 is greedy.
        """
        if self._on_cpu:
            mean, width, shape = self._measured(x)
            width *= alpha
            width += mean
            return torch.from_numpy(width.reshape(shape).argmax(-1))
        scores = self.score(x)
        return torch.add(scores.mean, scores.width, alpha=alpha).argmax(dim=-1)

    def _measured(self, x: torch.Tensor) -> tuple[Floats, Floats, tuple[int, ...]]:
        """Mean and width on the CPU, head by head, and the shape to give them."""
        rows = np.asarray(x.numpy(force=True), self._numpy_dtype)
        if self.groups == 1:
            return *self._solution(0).measure(rows.reshape(-1, self.dim)), rows.shape[:-1]
        found = [
            self._solution(g).measure(rows if rows.ndim == 2 else rows[:, g])
            for g in range(self.groups)
        ]
        mean, width = np.stack(found, axis=-1)  # (2, n, g)
        return mean, width, mean.shape

    def _solution(self, group: int) -> Solution:
        """The solved head of one group, on the CPU."""
        head = self._solutions[group]
        if head is None:
            head = self._solutions[group] = Solution(
                self.gram[group].numpy(),
                self.moment[group].numpy(),
                ridge=self.ridge,
                prior_mean=self.prior_mean.numpy(),
                dtype=self._numpy_dtype,
            )
        return head

    def _score_by_products(self, x: torch.Tensor) -> Scores:
        """On an accelerator, where a product is fast and a triangle solved for is not."""
        root, theta = self._lenses_of()
        if self.groups == 1:
            rows = x.reshape(-1, self.dim)
            width = torch.empty_like(rows[:, 0])
            for i in range(0, len(rows), _BLOCK):
                seen = rows[i : i + _BLOCK] @ root[0]
                torch.linalg.vector_norm(seen, dim=1, out=width[i : i + _BLOCK])
            return Scores(x @ theta[0], width.view(x.shape[:-1]))
        given = "nd" if x.dim() == 2 else "ngd"
        seen = torch.einsum(f"{given},gde->nge", x, root)
        mean = torch.einsum(f"{given},gd->ng", x, theta)
        return Scores(mean, torch.linalg.vector_norm(seen, dim=-1))

    def _lenses_of(self) -> tuple[torch.Tensor, torch.Tensor]:
        """L⁻ᵀ (g, d, d) and θ̂ (g, d) in the type of scores, once a state of the statistics."""
        if self._lenses is None:
            factor, theta = self.solve()
            eye = torch.eye(self.dim, dtype=torch.float64, device=self.device)
            white = torch.linalg.solve_triangular(factor, eye.expand_as(factor), upper=False)
            self._lenses = (white.mT.to(self.dtype), theta.to(self.dtype))
        return self._lenses
