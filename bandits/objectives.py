"""What a unit sold is worth to the seller: profit, revenue, units, or a mix of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Objective:
    """Weights of what is to be maximised, one row per listing.

    Attributes:
        profit, revenue: weights, float64 (n,), at least 0.
        units: currency units that a unit sold is worth beside its money (market share), (n,).
    """

    profit: NDArray[np.float64]
    revenue: NDArray[np.float64]
    units: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("profit", "revenue", "units"):
            weight = getattr(self, name)
            wrong = ~(np.isfinite(weight) & (weight >= 0))
            if wrong.any():
                raise ValueError(f"{name} is {weight[wrong][0]}: give a weight of at least 0")
        idle = self.profit + self.revenue + self.units <= 0
        if idle.any():
            raise ValueError(
                f"all weights of row {int(idle.argmax())} are 0: give one of profit, revenue and "
                "units a weight above 0"
            )

    def gain(
        self, prices: NDArray[np.float64], unit_cost: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Worth of a unit sold at prices (n, k), cost (n, 1), currency units; (n, k)."""
        earned = (self.profit + self.revenue)[:, None] * prices
        return np.asarray(earned - self.profit[:, None] * unit_cost + self.units[:, None])
