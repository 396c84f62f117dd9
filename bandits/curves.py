"""A bank of demand curves: the hypotheses about how a listing's buyers answer to price."""

from dataclasses import dataclass, field

import numpy as np
import torch

ELASTICITY_AT_REFERENCE = 2.0
"""Own-price elasticity at a curve's reference price. Scanner panels of grocery and juice with
promotions controlled give 1.7 to 2.3; a seller whose cost is half the price charges just there."""

USUAL_REACH = float(np.log(2.0))
"""Log units around the anchor beyond which nothing is supposed of the answer to a price: at four
times the price a sixteenth is usually sold, and each of buyers who do not mind would look like
sixteen."""

BLOCK = 512
"""Rows whose curves at all their prices are worked out at once: it bounds the memory they take."""


@dataclass(frozen=True, slots=True)
class CurveBank:
    r"""Every combination of a reference price (location) and a shape.

    Formula: with z the log of price over reference price,

        log f(z; κ) = −e (exp(κ z) − 1) / κ        (Box–Cox transform of the relative price)

    so f(0) = 1 and the elasticity at z is −e exp(κ z). κ → 0 is constant elasticity, κ = 1
    exponential demand, κ = 2 close to linear or logit, larger κ a cliff. Units per impression
    are a · f, with the level a integrated out in closed form (see `Evidence`).

    Attributes:
        shapes: κ of each shape, (s,).
        reach: largest distance of a reference price from a listing's anchor, log units.
        locations: number of reference prices, l; hypotheses m = s · l, shape-major.
    """

    shapes: tuple[float, ...] = (0.25, 1.0, 2.0, 4.0)
    reach: float = 3.0
    locations: int = 41
    elasticity: float = ELASTICITY_AT_REFERENCE
    offsets: torch.Tensor = field(init=False, compare=False, repr=False)  # (l,)
    kappa: torch.Tensor = field(init=False, compare=False, repr=False)  # (s,)

    def __post_init__(self) -> None:
        grid = torch.linspace(-self.reach, self.reach, self.locations, dtype=torch.float64)
        object.__setattr__(self, "offsets", grid)
        object.__setattr__(self, "kappa", torch.tensor(self.shapes, dtype=torch.float64))

    @property
    def size(self) -> int:
        """Number of hypotheses, m."""
        return len(self.shapes) * self.locations

    def powers(self, log_price: torch.Tensor) -> torch.Tensor:
        """exp(κ z) relative to the anchor: (…,) → (…, s). Sums of it are sufficient for units."""
        # beyond e⁶ ≈ 400 times the anchor all curves are flat at nothing, or at their ceiling
        kappa = self.kappa.to(log_price.device, log_price.dtype)
        return torch.exp(log_price.clamp(-6.0, 6.0)[..., None] * kappa)

    def shrink(self) -> torch.Tensor:
        """exp(−κ offset), (s, l): moves a power from the anchor to each location."""
        return torch.exp(-self.kappa[:, None] * self.offsets)

    def usual(self, log_price: torch.Tensor) -> torch.Tensor:
        """Demand over that at the anchor of buyers of the bank's elasticity, who answer to a price
        as far as `USUAL_REACH`, (…,)."""
        return torch.exp(-self.elasticity * log_price.clamp(-USUAL_REACH, USUAL_REACH))

    def demand(self, log_price: torch.Tensor) -> torch.Tensor:
        """f of every hypothesis at prices relative to the anchor: (…,) → (…, s, l)."""
        powers = self.powers(log_price)  # (…, s)
        shrink = self.shrink().to(powers.device, powers.dtype)
        slope = (-self.elasticity / self.kappa).to(powers.device, powers.dtype)[:, None]
        return torch.exp(slope * (powers[..., None] * shrink - 1.0))


DEFAULT_BANK = CurveBank()


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """float64 tensor sharing the array's memory."""
    return torch.as_tensor(np.asarray(array, np.float64))
