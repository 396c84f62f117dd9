"""Whether how many look was changed by the price that was drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.intervals import Interval, Ratio, student
from evaluation.logged import Logged

LEVEL = 0.999
"""Of the interval: it is asked for with each evaluation, and seldom to be wrong."""


def elasticity_of_mass(
    logged: Logged, price: NDArray[np.float64], unit: NDArray[np.int64]
) -> Interval | None:
    r"""Per cent by which what rows count changes for each per cent of the price drawn.

    Of a price p that was drawn with probabilities π, chance alone has made

        z = log p − Σ_a π_a log p_a,    E z = 0 whatever came before,

    so what goes with z follows from the price (a randomised instrument; Imbens & Angrist,
    Econometrica 1994). Beside the mean m̄ of its unit's D rows, a row counts m, and

        η = Σ z (m / m̄ − 1) / Σ z² (1 − 1 / D)

    to the first order in η z: each row has moved its own mean by a D-th. Days on which more look at
    all, and prices that follow them, are no matter. Student's t has as many degrees of freedom as
    draws count that moved a price, less one: of prices that are nearly always the same, the few
    others tell all there is.

    Args:
        logged: with propensities. price: of each arm, (n, k), NaN beyond a ladder.
        unit: rows of one unit, such as a listing, are compared, int64 (n,), from 0.

    Returns: None where no unit has two rows, chance moved no price, or there is one draw.
    """
    assert logged.propensities is not None
    log_price = np.log(np.where(np.isnan(price), 1.0, price))
    drawn = np.take_along_axis(log_price, logged.action[:, None], 1)[:, 0]
    z = drawn - (logged.propensities * log_price).sum(1)
    count = np.bincount(unit)
    usual = np.bincount(unit, logged.masses) / np.maximum(count, 1)
    told = z**2 * (1.0 - 1.0 / count[unit])
    groups = logged.groups
    if not told.any() or not groups.any():
        return None
    beside = Ratio(z * (logged.masses / usual[unit] - 1.0), told)
    moved = np.bincount(groups, told) / told.max()
    draws = moved.sum() ** 2 / (moved**2).sum()
    return student([beside], groups, LEVEL, float(draws) - 1.0)
