"""Expected demand over a grid of prices: every listing's mixture of curves as one product."""

from dataclasses import dataclass
from functools import cache

import torch

from bandits.curves import CurveBank
from bandits.evidence import Posterior

_REACH, STEP = 3.4, 0.04
_FEWEST = 1e-9  # units per impression; below, nothing sells


@cache
def table(bank: CurveBank, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Prices of the grid, log from the anchor, (g,), and every hypothesis' f there, (g, m)."""
    points = round(2 * _REACH / STEP) + 1
    grid = torch.linspace(-_REACH, _REACH, points, dtype=torch.float64)
    curves = bank.demand(grid).reshape(points, -1)
    return grid.float().to(device), curves.float().to(device)


@dataclass(frozen=True, slots=True)
class Profile:
    """Units per impression under own evidence at the prices of a grid.

    Attributes:
        grid: log price − anchor, (g,). log_mean: of the mean, float32 (n, g).
        log_square: of the mean of the square, float32 (n, g).
    """

    grid: torch.Tensor
    log_mean: torch.Tensor
    log_square: torch.Tensor

    @classmethod
    def of(cls, bank: CurveBank, belief: Posterior, device: torch.device) -> "Profile":
        """The mixture of curves that each row is believed to have."""
        grid, curves = table(bank, device)
        level = belief.level.float().to(device).flatten(1)
        first = belief.weight.float().to(device).flatten(1) * level  # (n, m)
        again = (1.0 + 1.0 / belief.shape).float().to(device).flatten(1)
        mean = (first @ curves.T).clamp_min_(_FEWEST)
        square = ((first * level * again) @ curves.square().T).clamp_min_(_FEWEST**2)
        return cls(grid, mean.log_(), torch.maximum(square.log_(), 2 * mean))

    def at(self, log_price: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation at prices (log from the anchor, (n, k)), (n, k) each.

        Between the prices of the grid logs are interpolated: demand keeps falling with the price.
        """
        place = (log_price - self.grid[0]) / STEP
        left = place.floor().clamp(0, len(self.grid) - 2)
        share = place - left
        index = left.long()

        def read(table: torch.Tensor) -> torch.Tensor:
            low, high = table.gather(1, index), table.gather(1, index + 1)
            return low + share * (high - low)

        return _moments(read(self.log_mean), read(self.log_square))

    def take(self, rows: torch.Tensor) -> "Profile":
        """The given rows."""
        rows = rows.to(self.log_mean.device)
        return Profile(self.grid, self.log_mean[rows], self.log_square[rows])

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation at the prices of the grid, (n, g) each."""
        return _moments(self.log_mean, self.log_square)


def _moments(log_mean: torch.Tensor, log_square: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    log_mean = log_mean.clamp(-80.0, 20.0)
    relative = (log_square - 2 * log_mean).clamp(0.0, 40.0)
    mean = torch.exp(log_mean).clamp_min(_FEWEST)
    return mean, mean * torch.sqrt(torch.expm1(relative))
