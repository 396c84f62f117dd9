"""Target policies over price ladders, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation.logged import Unanswerable

MARKUP = 2.0
"""Price over unit cost of `cost-plus`, unless another is given: a margin of one half."""


@dataclass(frozen=True, slots=True, eq=False)
class Menus:
    """The ladders that prices were drawn from, a row each; shorter ladders are filled up.

    Attributes:
        price: currency units, float64 (n, k), rising; NaN beyond the ladder.
        propensity: probability of each arm under the policy that drew, float64 (n, k).
        expected: gain that was expected of each arm, float64 (n, k); NaN beyond the ladder.
        unit_cost: currency units, float64 (n,); NaN where unknown.
    """

    price: NDArray[np.float64]
    propensity: NDArray[np.float64]
    expected: NDArray[np.float64]
    unit_cost: NDArray[np.float64]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Arms that are on the ladder, bool (n, k)."""
        return ~np.isnan(self.price)


Target = Callable[[Menus, float], NDArray[np.float64]]
"""From menus and a markup to the probability of every arm, float64 (n, k)."""


def logged(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The policy that drew: every estimator must give what was earned."""
    return menus.propensity


def uniform(menus: Menus, markup: float) -> NDArray[np.float64]:
    """Every price of the ladder with the same chance."""
    return np.asarray(menus.there / menus.there.sum(1, keepdims=True))


def greedy(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The price of which most was expected: the best estimate, as without exploring."""
    return _only(np.where(menus.there, menus.expected, -np.inf).argmax(1), menus)


def cheapest(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The lowest price of the ladder."""
    return _only(np.zeros(len(menus.price), np.int64), menus)


def middle(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The middle of the ladder; the lower one of two."""
    return _only((menus.there.sum(1) - 1) // 2, menus)


def dearest(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The highest price of the ladder."""
    return _only(menus.there.sum(1) - 1, menus)


def cost_plus(menus: Menus, markup: float) -> NDArray[np.float64]:
    """The price of the ladder nearest to unit cost times `markup`.

    Raises:
        Unanswerable: unit costs are unknown.
    """
    unknown = ~(menus.unit_cost > 0)
    if unknown.any():
        raise Unanswerable(
            [
                f"{unknown.sum()} of {len(unknown)} decisions have no unit cost, so there is no "
                "cost-plus price: give unit_cost with the listings, or ask about another policy."
            ]
        )
    with np.errstate(divide="ignore"):
        # a product of the two may have more digits than a float holds
        wanted = np.log(markup) + np.log(menus.unit_cost[:, None])  # (n, 1)
        off = np.abs(np.log(menus.price) - wanted)  # (n, k)
    return _only(np.where(menus.there, off, np.inf).argmin(1), menus)


TARGETS: dict[str, Target] = {
    "logged": logged,
    "greedy": greedy,
    "uniform": uniform,
    "cheapest": cheapest,
    "middle": middle,
    "dearest": dearest,
    "cost-plus": cost_plus,
}


def _only(arm: NDArray[np.int64], menus: Menus) -> NDArray[np.float64]:
    """All probability on one arm a row."""
    chosen = np.zeros(menus.price.shape)
    np.put_along_axis(chosen, arm[:, None], 1.0, 1)
    return chosen
