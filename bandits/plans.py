"""Prices of listings with a finite stock: what each arm earns to the last day, as demand may be."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import gammaincinv

from bandits.curves import CurveBank
from bandits.evidence import Posterior
from bandits.stock import stock_scores

HYPOTHESES = 16
"""Demands of a listing that are planned for."""

_HARDLY_ANY = 1e-6  # impressions a day; what fewer would sell is lost in rounding
_AMPLE = 1.5  # times what may be sold: with more stock than that, stock does not matter
_SOONER = 1e-9  # share of its gain that a unit brings more today than later
_FEW = 1e-3  # a share of a distribution that quantiles are kept away from its ends


@dataclass(frozen=True, slots=True)
class Stock:
    """What is left to sell, one row per listing.

    Attributes:
        units: left, float64 (n,), NaN where there is no end. days: left to sell in, today
            included, at least 1, int64 (n,).
        impressions: expected a day, (n,). certainty: shape of the Gamma distribution that
            impressions a day are believed to have, (n,).
        told: rows whose last day was told, bool (n,): what they have then is not replenished,
            however much it is. None: no row's.
    """

    units: NDArray[np.float64]
    days: NDArray[np.int64]
    impressions: NDArray[np.float64]
    certainty: NDArray[np.float64]
    told: NDArray[np.bool_] | None = None

    def take(self, rows: NDArray[np.int64]) -> "Stock":
        """The given rows."""
        return Stock(
            self.units[rows],
            self.days[rows],
            self.impressions[rows],
            self.certainty[rows],
            None if self.told is None else self.told[rows],
        )

    def ending(self) -> NDArray[np.bool_]:
        """Rows whose stock is worth nothing after a day that was told, bool (n,)."""
        told = np.zeros(len(self.units), np.bool_) if self.told is None else self.told
        return told & ~np.isnan(self.units)

    def lasting(self, demand: NDArray[np.float64]) -> NDArray[np.int64]:
        """Lowest price at which the stock is expected to last to the end, int64 (n,).

        Args:
            demand: units per impression at rising prices, (n, g).
        """
        sold = demand * (self.impressions * self.days)[:, None]
        lasts = ~(sold > self.units[:, None])  # where there is no end, at every price
        return np.asarray(np.where(lasts.any(1), lasts.argmax(1), lasts.shape[1] - 1))

    def binding(self, demand: NDArray[np.float64]) -> NDArray[np.int64]:
        """Rows whose stock may run out at the highest demand an arm may meet, (n,), int64."""
        sold = demand * self.impressions * self.days
        return np.flatnonzero(self.units < _AMPLE * (sold + 3.0 * np.sqrt(sold)) + 1.0)


def planned(
    bank: CurveBank,
    belief: Posterior,
    log_price: NDArray[np.float64],
    correction: NDArray[np.float64],
    gain: NDArray[np.float64],
    stock: Stock,
) -> NDArray[np.float64]:
    """Expected gain of today's sales over keeping the units sold, per impression, (n, k).

    Both to the last day: the difference is what an arm does for the seller today, on the scale of
    a gain without an end.

    Args:
        belief: about n listings. log_price: from their anchors, (n, k).
        correction: of the own curve at each arm, (n, k). gain: of a unit sold, its cost being
            spent whether or not it sells, (n, k).
    """
    n, h = len(log_price), HYPOTHESES
    middle = (np.arange(h) + 0.5) / h
    # levels and impressions take the same quantiles in other orders, so that nothing goes together
    turned = np.random.default_rng(0)
    of_level, of_impressions = turned.permutation(middle), turned.permutation(middle)
    cumulative = belief.weight.flatten(1).cumsum(1)
    place = torch.searchsorted(cumulative, torch.as_tensor(middle).expand(n, h).contiguous())
    place = place.clamp_max(bank.size - 1)  # (n, h)
    relative = torch.as_tensor(log_price)
    kappa = bank.kappa[place // bank.locations][:, :, None]
    off = relative[:, None, :] - bank.offsets[place % bank.locations][:, :, None]
    curves = torch.exp(-bank.elasticity / kappa * torch.expm1(off.clamp(-6.0, 6.0) * kappa))
    shape = belief.shape.flatten(1).gather(1, place).numpy()
    level = belief.level.flatten(1).gather(1, place).numpy() * gammaincinv(shape, of_level) / shape
    certainty = stock.certainty[:, None]
    spread = gammaincinv(certainty, np.clip(of_impressions, _FEW, 1 - _FEW)) / certainty
    impressions = np.maximum(stock.impressions, _HARDLY_ANY)
    rate = curves.numpy() * (level * impressions[:, None] * spread)[:, :, None]
    # one more arm at which nothing sells: what the stock is worth tomorrow, if kept
    rate = np.concatenate([rate * correction[:, None, :], np.zeros((n, h, 1))], axis=2)
    gain = np.concatenate([gain, np.zeros((n, 1))], axis=1)
    worth = stock_scores(gain, rate, stock.days, stock.units.astype(np.int64))
    # where all prices sell out in time and gain alike, rounding would choose among them
    sold = rate[:, :, :-1].mean(1)
    sold /= 1.0 + sold / np.maximum(stock.units, 1.0)[:, None]  # sold out: as of the last one
    today = worth[:, :-1] - worth[:, -1:] + _SOONER * gain[:, :-1] * sold
    return np.asarray(today / impressions[:, None])
