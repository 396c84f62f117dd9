"""What a log of draws says: which action, with which probability, and what it earned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-6
"""How far probabilities may be off through rounding."""


class Unanswerable(ValueError):
    """The log cannot answer the question.

    Attributes:
        reasons: each in plain words, with the count concerned and what to do.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        super().__init__(" ".join(reasons))
        self.reasons = tuple(reasons)


@dataclass(frozen=True, slots=True, eq=False)
class Logged:
    """Draws of a logging policy, one row each.

    Args:
        action: the arm drawn, int64 (n,), in [0, n_actions).
        reward: what it earned, per unit of `mass` where that is given, float64 (n,).
        propensity: probability with which the logging policy drew `action`, float64 (n,), (0, 1].
        n_actions: k. Where rows have arms of their own (a price ladder each), arms are places on
            the row's ladder, and k is the length of the longest.
        propensities: probability of every arm, float64 (n, k), 0 where it could not be drawn. With
            it a target that wants what was never offered is found out; without it only its traces
            in the weights are.
        mass: what a row counts, such as its impressions, float64 (n,), above 0. Taken as given:
            the action may not have changed it. None: every row counts the same.
        group: rows that share one draw, or one buyer, carry one number, int64 (n,). They count as
            one in every standard error. None: rows are independent.

    Raises:
        Unanswerable: a propensity is missing, 0, above 1 or not that of `propensities`, those of
            a row's arms are no probabilities that add up to 1, or there is no row.
        ValueError: another field has the wrong shape or an impossible value; the message says
            which, where, and what to do.
    """

    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    propensity: NDArray[np.float64]
    n_actions: int
    propensities: NDArray[np.float64] | None = None
    mass: NDArray[np.float64] | None = None
    group: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        n = len(self.action)
        if n == 0:
            raise Unanswerable(["the log has no row: wait until draws have outcomes."])
        for name in ("action", "reward", "propensity", "mass", "group"):
            field = getattr(self, name)
            if field is not None and field.shape != (n,):
                raise ValueError(f"{name} has shape {field.shape}: give one value a row, ({n},)")
        if not np.issubdtype(self.action.dtype, np.integer):
            raise ValueError(f"action is {self.action.dtype}: give numbers of arms as integers")
        first = _first((self.action < 0) | (self.action >= self.n_actions))
        if first is not None:
            raise ValueError(
                f"action is {self.action[first]} in row {first}: give arms from 0 to "
                f"{self.n_actions - 1}, or raise n_actions"
            )
        first = _first(~np.isfinite(self.reward))
        if first is not None:
            raise ValueError(f"reward is {self.reward[first]} in row {first}: leave the row out")
        if self.mass is not None:
            first = _first(~(np.isfinite(self.mass) & (self.mass > 0)))
            if first is not None:
                raise ValueError(
                    f"mass is {self.mass[first]} in row {first}: leave out rows that nobody saw"
                )
        self._check_propensities()

    def _check_propensities(self) -> None:
        good = (self.propensity > 0) & (self.propensity <= 1 + _ROUNDING)
        if not good.all():
            first = _first(~good)
            raise Unanswerable(
                [
                    f"propensity is missing, 0 or above 1 in {(~good).sum()} of {len(good)} rows "
                    f"(first: {self.propensity[first]} in row {first}): what was drawn had a "
                    "probability in (0, 1]; log it at the draw, or leave the rows out."
                ]
            )
        if self.propensities is None:
            return
        shape = (len(self.action), self.n_actions)
        if self.propensities.shape != shape:
            raise ValueError(f"propensities have shape {self.propensities.shape}: give {shape}")
        sums = self.propensities.sum(1)
        broken = ~((self.propensities >= 0).all(1) & (np.abs(sums - 1) <= _ROUNDING))
        if (first := _first(broken)) is not None:
            raise Unanswerable(
                [
                    f"propensities are negative, missing or do not add up to 1 in {broken.sum()} "
                    f"of {len(good)} rows (first: {sums[first]} in row {first}): log the "
                    "probability of every arm at the draw, 0 where it could not be drawn, or leave "
                    "propensities out."
                ]
            )
        drawn = np.take_along_axis(self.propensities, self.action[:, None], 1)[:, 0]
        other = _first(~(np.abs(drawn - self.propensity) <= _ROUNDING))
        if other is not None:
            raise Unanswerable(
                [
                    f"propensity is {self.propensity[other]} in row {other}, but propensities has "
                    f"{drawn[other]} for the arm drawn: one of them was logged for another draw."
                ]
            )

    def __len__(self) -> int:
        return len(self.action)

    @property
    def masses(self) -> NDArray[np.float64]:
        """What each row counts, float64 (n,)."""
        return np.ones(len(self)) if self.mass is None else self.mass

    @property
    def groups(self) -> NDArray[np.int64]:
        """Number of each row's group, int64 (n,), from 0 without gaps."""
        if self.group is None:
            return np.arange(len(self))
        return np.asarray(np.unique(self.group, return_inverse=True)[1].reshape(-1), np.int64)

    def check_target(self, target: NDArray[np.float64]) -> None:
        """Raise ValueError where `target`, float64 (n, k), is no probability of each arm."""
        shape = (len(self), self.n_actions)
        if target.shape != shape:
            raise ValueError(f"target has shape {target.shape}: give each arm's chance, {shape}")
        sums = target.sum(1)
        first = _first(~((target >= 0).all(1) & (np.abs(sums - 1) <= _ROUNDING)))
        if first is not None:
            raise ValueError(
                f"target adds up to {sums[first]} in row {first}: give probabilities that are not "
                "negative and add up to 1"
            )

    def importance(self, target: NDArray[np.float64]) -> NDArray[np.float64]:
        """Importance weights π(a | x) / p(a | x) of the arms drawn, float64 (n,).

        Args:
            target: probability of every arm under the target policy π, float64 (n, k).
        """
        chosen = np.take_along_axis(target, self.action[:, None], 1)[:, 0]
        return np.asarray(chosen / self.propensity)


def _first(broken: NDArray[np.bool_]) -> int | None:
    return int(broken.argmax()) if broken.any() else None
