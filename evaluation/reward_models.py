"""Rewards predicted for every arm, each row by a model that has not seen it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone, is_classifier
from sklearn.model_selection import KFold

from evaluation.logged import Logged


class Features(Protocol):
    """What a model reads of a row and an arm."""

    def __call__(self, rows: NDArray[np.int64], arms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Features of `arms`, (m,), in `rows`, (m,): float64 (m, d)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class OneHot:
    """Context beside an indicator of the arm: for arms that mean the same in every row.

    Attributes:
        context: float64 (n, c). n_actions: k.
    """

    context: NDArray[np.float64]
    n_actions: int

    def __call__(self, rows: NDArray[np.int64], arms: NDArray[np.int64]) -> NDArray[np.float64]:
        """Context and indicator, float64 (m, c + k)."""
        return np.hstack([self.context[rows], np.eye(self.n_actions)[arms]])


def cross_fitted(
    model: Any, features: Features, logged: Logged, folds: int = 3, seed: int = 0
) -> NDArray[np.float64]:
    """Expected reward of every arm in every row, float64 (n, k).

    Each fold is predicted by a model fitted on the others (Chernozhukov et al. 2018,
    "Double/debiased machine learning", definition 3.1), so that no row's reward is in its own
    prediction; without this a doubly robust estimate leans towards what the model memorised.

    Args:
        model: a scikit-learn classifier of rewards 0 and 1, or a regressor; it is cloned.
        folds: parts, at least 2. Groups of the log stay whole.
        seed: of the split.

    Raises:
        ValueError: fewer groups than folds, or a classifier of other rewards than 0 and 1.
    """
    other = np.flatnonzero((logged.reward != 0) & (logged.reward != 1))
    if is_classifier(model) and other.size:
        raise ValueError(
            f"reward is {logged.reward[other[0]]} in row {other[0]}: a classifier predicts the "
            "chance of 1 against 0; give a regressor"
        )
    groups = logged.groups
    count = int(groups.max()) + 1
    if not 2 <= folds <= count:
        raise ValueError(f"folds is {folds}: give from 2 to the number of groups, {count}")
    predicted = np.empty((len(logged), logged.n_actions))
    for _, held in KFold(folds, shuffle=True, random_state=seed).split(np.arange(count)):
        out = np.isin(groups, held)
        rows, train = np.flatnonzero(out), np.flatnonzero(~out)
        predict = _fitted(
            model, features(train, logged.action[train]), logged.reward[train], logged.mass, train
        )
        for arm in range(logged.n_actions):
            predicted[rows, arm] = predict(features(rows, np.full(len(rows), arm)))
    return predicted


def _fitted(
    model: Any,
    x: NDArray[np.float64],
    reward: NDArray[np.float64],
    mass: NDArray[np.float64] | None,
    train: NDArray[np.int64],
) -> Any:
    """A function from features to expected rewards."""
    if (reward == reward[0]).all():
        # a classifier of one class cannot be fitted, and there is nothing to learn
        return lambda z: np.full(len(z), reward[0])
    weights = {} if mass is None else {"sample_weight": mass[train]}
    fitted = clone(model).fit(x, reward, **weights)
    if is_classifier(fitted):
        return lambda z: fitted.predict_proba(z)[:, 1]
    return fitted.predict
