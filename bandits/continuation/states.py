"""What is known before a price is set, as a learner of later gains sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch

FEATURES = (
    "plan",
    "now",
    "log_pressure",
    "spread",
    "log_price",
    "log_stock",
    "days",
    "log_days",
    "log_remembered",
)
"""Features of an arm, in order.

- plan: what is left for later, by the fluid plan, over `States.scale`. now: expected gain today,
  over the same.
- log_pressure: log of the units expected until the last day over those in stock, within 4.
- spread: standard deviation of the believed rate over its mean, at most 3.
- log_price: log of the price over the price that earns most today, within 4.
- log_stock: log(1 + units) / 4, at most 2. days: left / 30. log_days: log(left) / 3.
- log_remembered: log of the price remembered over the price, within 2; 0 where none is.
"""

SMOOTHING, LOSS = 0.8, 2.0
"""Weight of the past in a remembered price, and of a loss against a gain: Popescu and Wu, "Dynamic
pricing strategies with reference effects", Operations Research 2007, section 2."""


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """n states; every column is a tensor with a row for each.

    Attributes:
        features: float32 (n, k, len(FEATURES)).
        now: expected gain today at each arm, currency units, (n, k).
        scale: currency units that what is left for later is measured in, (n,).
        allowed: arms that may be charged, bool (n, k), at least one a row.
        later: whether anything is left for later, bool (n,).
    """

    features: torch.Tensor
    now: torch.Tensor
    scale: torch.Tensor
    allowed: torch.Tensor
    later: torch.Tensor

    def __len__(self) -> int:
        return len(self.scale)

    def take(self, rows: torch.Tensor) -> States:
        """Some of the states, by row."""
        return States(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def cat(parts: list[States]) -> States:
        """Many as one."""
        columns = (torch.cat([getattr(p, field.name) for p in parts]) for field in fields(States))
        return States(*columns)


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """What is believed of n listings' demand, and what stands.

    Args:
        prices: gain from a unit at each arm, currency units, (n, k).
        rates: expected units a day at each arm under h hypotheses, (n, h, k).
        weights: probability of each hypothesis, (n, h).
        days: left, today included, (n,). stock: units left, (n,), infinite where there is no end.
        allowed: bool (n, k).
        memory: strength of remembered prices; 0 for none. remembered, worth: the price
            remembered and the price level it is felt against, currency units, (n,) each.
    """

    prices: torch.Tensor
    rates: torch.Tensor
    weights: torch.Tensor
    days: torch.Tensor
    stock: torch.Tensor
    allowed: torch.Tensor
    memory: float = 0.0
    remembered: torch.Tensor | None = None
    worth: torch.Tensor | None = None

    def take(self, rows: torch.Tensor) -> Belief:
        """What is believed of some of the listings, by row."""
        held = {f.name: getattr(self, f.name) for f in fields(self)}
        some: dict[str, Any] = {
            name: c[rows] if isinstance(c, torch.Tensor) else c for name, c in held.items()
        }
        return Belief(**some)

    def states(self) -> States:
        """Features, gains and scale; float32 throughout."""
        p, r, w, left = self.prices, self.rates, self.weights, self.stock[:, None]
        felt, felt_later = self._felt()
        rate = r * felt[:, None]  # (n, h, k)
        mean = torch.einsum("nh,nhk->nk", w, rate)
        square = torch.einsum("nh,nhk->nk", w, rate**2)
        sold = expected_sales(rate, left[:, :, None])
        now = p * torch.einsum("nh,nhk->nk", w, sold)
        # the fluid plan: one arm b for all later days, given arm a today, and demand known by then
        kept = (left[:, :, None] - sold)[:, :, :, None]  # (n, h, a, 1)
        coming = (self.days - 1)[:, None, None, None] * r[:, :, None] * felt_later[:, None]
        open_to = p.masked_fill(~self.allowed, 0.0)
        planned = (torch.minimum(coming, kept) * open_to[:, None, None]).amax(3)  # (n, h, a)
        plan = torch.einsum("nh,nha->na", w, planned)
        total = (now + plan).masked_fill(~self.allowed, 0.0)
        scale = total.amax(1).clamp_min(1e-6)
        best = p.gather(1, now.masked_fill(~self.allowed, -1.0).argmax(1, keepdim=True))
        days = self.days[:, None].expand_as(p)
        columns = (
            plan / scale[:, None],
            now / scale[:, None],
            torch.log((mean * days / left.clamp_min(1e-6)).clamp(*_within(4.0))),
            (torch.sqrt((square - mean**2).clamp_min(0.0)) / mean.clamp_min(1e-9)).clamp_max(3.0),
            torch.log((p / best.clamp_min(1e-9)).clamp(*_within(4.0))),
            (torch.log1p(left) / 4).clamp_max(2.0).expand_as(p),
            days / 30,
            torch.log(days) / 3,
            self._gap(),
        )
        later = (self.days > 1) & (self.stock > 0)
        return States(torch.stack(columns, dim=2), now, scale, self.allowed, later)

    def felt(self) -> torch.Tensor:
        """Factor on today's demand at each arm from the price remembered, (n, k)."""
        return self._felt()[0]

    def _felt(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Factor on demand today, (n, a), and tomorrow at b given a today, (n, a, b)."""
        p = self.prices
        if not self.memory or self.remembered is None or self.worth is None:
            return torch.ones_like(p), torch.ones_like(p)[:, None]
        worth = self.worth[:, None]
        today = _response(self.memory * (self.remembered[:, None] - p) / worth)
        next_remembered = SMOOTHING * self.remembered[:, None] + (1.0 - SMOOTHING) * p
        gap = (next_remembered[:, :, None] - p[:, None]) / worth[:, :, None]
        return today, _response(self.memory * gap)

    def _gap(self) -> torch.Tensor:
        if self.remembered is None:
            return torch.zeros_like(self.prices)
        gap = self.remembered[:, None] / self.prices.clamp_min(1e-9)
        return torch.log(gap.clamp(*_within(2.0)))


def expected_sales(rate: torch.Tensor, stock: torch.Tensor) -> torch.Tensor:
    """E[min(D, c)], D ~ Poisson(rate); `stock` c broadcasts, may be infinite."""
    stock = stock.expand_as(rate)
    c = torch.where(torch.isfinite(stock), stock, torch.ones_like(stock))
    r = rate.clamp_min(1e-12)
    # sum of d P(D = d) over d < c is rate P(D <= c - 2), and P(D <= m) = Q(m + 1, rate)
    below = r * torch.where(c > 1.5, torch.special.gammaincc((c - 1).clamp_min(1e-3), r), 0.0)
    finite = below + c * torch.special.gammainc(c.clamp_min(1e-3), r)
    finite = torch.where(c > 0.5, finite, 0.0)
    return torch.where(torch.isfinite(stock), finite, rate)


def _response(gap: torch.Tensor) -> torch.Tensor:
    return torch.exp(torch.where(gap < 0, LOSS * gap, gap).clamp_max(8.0))


def _within(log_bound: float) -> tuple[float, float]:
    return math.exp(-log_bound), math.exp(log_bound)
