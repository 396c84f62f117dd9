"""Demand curves: units per impression at a price."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FAMILIES = ("logit", "exponential", "linear", "constant")

_GRID = 65
_GOLDEN = (5**0.5 - 1.0) / 2.0
_GOLDEN_STEPS = 40


def units_per_impression(
    family: Ints, ratio: Floats, elasticity: Floats, conversion: Floats, choke: Floats
) -> Floats:
    """Expected units per impression.

    With r = `ratio`, e = -`elasticity` > 0 and k = `conversion`, both at r = 1:

    - logit: d(r) = 1 / (1 + exp(a + b (r - 1))), a = log((1 - k) / k), b = e / (1 - k);
    - exponential: d(r) = k exp(-e (r - 1));
    - linear: d(r) = k (1 - e (r - 1));
    - constant: d(r) = k r^-e up to r = `choke`, nothing above.

    Each is cut to [0, 1].

    Args:
        family: index into `FAMILIES`. ratio: price over what buyers think right. choke: ratio
            above which constant-elasticity buyers buy nothing. All arrays broadcast together.
    """
    x = ratio - 1.0
    e = -elasticity
    # Prices far off the scale overflow to 0 or 1, which is what they mean.
    with np.errstate(over="ignore", divide="ignore"):
        curves: tuple[Callable[[], Floats], ...] = (
            lambda: (
                1.0 / (1.0 + (1.0 - conversion) / conversion * np.exp(e / (1.0 - conversion) * x))
            ),
            lambda: conversion * np.exp(-e * x),
            lambda: conversion * (1.0 - e * x),
            lambda: np.where(ratio <= choke, conversion * np.power(ratio, -e), 0.0),
        )
        present = [number for number in range(len(curves)) if (family == number).any()] or [0]
        demand: Floats = np.select(
            [family == number for number in present], [curves[number]() for number in present]
        )
    cut: Floats = np.clip(demand, 0.0, 1.0)
    return cut


def highest(
    gain: Callable[[Floats], Floats], low: Floats, high: Floats, steps: int = _GOLDEN_STEPS
) -> Floats:
    """Where in [low, high] a function with one peak is highest, (n,): a grid, then golden sections.

    Args:
        gain: of arrays (n, k), row by row. Beyond its peak it may fall off a cliff.
        low, high: (n,). steps: golden sections; what is left is 0.62^steps of a thirty-second of
            the interval.
    """
    reach = high - low
    grid = low[:, None] + reach[:, None] * np.linspace(0.0, 1.0, _GRID)  # (n, _GRID)
    best = gain(grid).argmax(axis=1)
    left_end = low + reach * (np.maximum(best - 1, 0) / (_GRID - 1))
    right_end = low + reach * (np.minimum(best + 1, _GRID - 1) / (_GRID - 1))
    for _ in range(steps):
        span = _GOLDEN * (right_end - left_end)
        left, right = right_end - span, left_end + span
        both = gain(np.stack([left, right], axis=1))  # (n, 2)
        rises = both[:, 0] < both[:, 1]
        left_end, right_end = np.where(rises, left, left_end), np.where(rises, right_end, right)
    # the left end: at a cliff the right one lies beyond it
    return np.asarray(left_end)
