"""Each listing's own sales, as additive sufficient statistics, and what they say of its demand."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.curves import DEFAULT_BANK, CurveBank, Population, log_prior

PSEUDO_LISTINGS = 20.0
"""How many listings' worth of trust the catalogue's defaults keep against what was observed."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief about each listing's demand curve, rows as asked for.

    Attributes:
        weight: probability of each hypothesis, (n, s, l).
        level: mean of the demand level under each hypothesis, (n, s, l).
        level_square: mean of its square, (n, s, l).
    """

    weight: torch.Tensor
    level: torch.Tensor
    level_square: torch.Tensor

    def location(self, bank: CurveBank = DEFAULT_BANK) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the reference price's log, from the anchor, (n,) each."""
        marginal = self.weight.sum(1)  # (n, l)
        mean = marginal @ bank.offsets
        variance = marginal @ bank.offsets**2 - mean**2
        return mean, torch.sqrt(variance.clamp_min(0.0))


class Evidence:
    r"""Sufficient statistics of own sales, a row per listing that has any.

    Model: units in n impressions at price p ~ Poisson(n a f_h(p)) with h a curve of the bank and
    a ~ Gamma(k, k / mean level). The level integrates out (Gamma–Poisson conjugacy):

        log P(h | sales) = log P(h) + Σ u log f_h(p) − (k + U) log(k / mean + Σ n f_h(p)) + const
        a | h, sales ~ Gamma(k + U, k / mean + Σ n f_h(p)),   U = Σ u.

    Σ u log f_h needs only Σ u exp(κ z) for each shape, so a row holds those s sums, the m
    exposures Σ n f_h(p), U, impressions and money. All are sums: they merge by addition and do
    not depend on the order of events.
    """

    def __init__(self, bank: CurveBank = DEFAULT_BANK) -> None:
        self.bank = bank
        self.slot = np.full(0, -1, np.int64)  # listing row → row here, -1 without evidence
        self.listing = np.empty(0, np.int64)  # row here → listing row
        s, m = len(bank.shapes), bank.size
        self.exposure = torch.zeros(0, m, dtype=torch.float64)
        self.powers = torch.zeros(0, s, dtype=torch.float64)
        # units, impressions, revenue and profit (currency units)
        self.totals = torch.zeros(0, 4, dtype=torch.float64)
        self.anchor = np.empty(0)  # log price, currency units

    def __len__(self) -> int:
        return len(self.listing)

    def _slots(self, listing: NDArray[np.int64], anchor: NDArray[np.float64]) -> torch.Tensor:
        """Rows of `listing`, made where missing, int64 (m,)."""
        highest = int(listing.max()) + 1
        if highest > len(self.slot):
            grown = np.full(max(highest, 2 * len(self.slot)), -1, np.int64)
            grown[: len(self.slot)] = self.slot
            self.slot = grown
        new, first = np.unique(listing[self.slot[listing] < 0], return_index=True)
        if len(new):
            start = len(self.listing)
            missing_anchor = anchor[self.slot[listing] < 0][first]
            self.slot[new] = np.arange(start, start + len(new))
            self.listing = np.concatenate([self.listing, new])
            self.anchor = np.concatenate([self.anchor, missing_anchor])
            room = len(self.listing) - len(self.exposure)
            if room > 0:
                extra = max(room, len(self.exposure), 64)
                self.exposure, self.powers, self.totals = (
                    torch.cat([t, torch.zeros(extra, t.shape[1], dtype=t.dtype)])
                    for t in (self.exposure, self.powers, self.totals)
                )
        return torch.as_tensor(self.slot[listing])

    def add(
        self,
        listing: NDArray[np.int64],
        anchor: NDArray[np.float64],
        price: NDArray[np.float64],
        impressions: NDArray[np.float64],
        units: NDArray[np.float64],
        profit: NDArray[np.float64],
    ) -> None:
        """Add sales, all (m,).

        Args:
            listing: listing rows, repeats allowed. anchor: their log anchor prices.
            price: currency units. impressions: 0 where unknown. units: net of returns.
            profit: currency units; revenue where the cost is unknown.
        """
        if len(listing) == 0:
            return
        rows = self._slots(listing, anchor)
        log_price = torch.as_tensor(np.log(price) - anchor)
        u, n = torch.as_tensor(units), torch.as_tensor(impressions)
        # events are added in slices: a million of them times m curves would not fit in memory
        for part in torch.split(torch.arange(len(rows)), 8192):
            curves = self.bank.demand(log_price[part]).flatten(1)  # (m, s·l)
            self.exposure.index_add_(0, rows[part], curves * n[part, None])
        self.powers.index_add_(0, rows, self.bank.powers(log_price) * u[:, None])
        money = torch.as_tensor(np.stack([units, impressions, units * price, profit], axis=1))
        self.totals.index_add_(0, rows, money)

    def restore(
        self,
        listing: NDArray[np.int64],
        anchor: NDArray[np.float64],
        exposure: torch.Tensor,
        powers: torch.Tensor,
        totals: torch.Tensor,
    ) -> None:
        """Take over statistics saved earlier, a row per listing."""
        self.listing, self.anchor = listing, anchor
        self.exposure, self.powers, self.totals = exposure, powers, totals
        self.slot = np.full(int(listing.max(initial=-1)) + 1, -1, np.int64)
        self.slot[listing] = np.arange(len(listing))

    def gather(self, listing: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(exposure (n, m), powers (n, s), totals (n, 4)) of listing rows, zeros without sales."""
        known = np.where(listing < len(self.slot), listing, -1)
        slot = np.where(known >= 0, self.slot[known], -1) if len(self.slot) else known * 0 - 1
        found = torch.as_tensor(np.flatnonzero(slot >= 0))
        source = torch.as_tensor(slot[slot >= 0])
        parts = []
        for table in (self.exposure, self.powers, self.totals):
            out = torch.zeros(len(listing), table.shape[1], dtype=torch.float64)
            out[found] = table[source]
            parts.append(out)
        return parts[0], parts[1], parts[2]

    def posterior(
        self,
        listing: NDArray[np.int64],
        population: Population,
        guess: torch.Tensor,
        guess_sd: torch.Tensor,
    ) -> Posterior:
        """Belief about listing rows (-1: a listing without a row), given guesses as `log_prior`."""
        bank = self.bank
        exposure, powers, totals = self.gather(listing)
        shape = (len(listing), len(bank.shapes), bank.locations)
        units = totals[:, 0].clamp_min(0.0)[:, None, None]  # returns may outrun sales for a while
        slope = -bank.elasticity / bank.kappa  # (s,)
        log_units = slope[:, None] * (
            bank.shrink() * powers.clamp_min(0.0)[:, :, None] - units
        )  # (n, s, l)
        rate = population.level_shape / population.level + exposure.view(shape)
        gamma = population.level_shape + units
        log_weight = log_prior(bank, population, guess, guess_sd) + log_units
        log_weight -= gamma * torch.log(rate)
        weight = torch.softmax(log_weight.flatten(1), dim=1).view(shape)
        level = gamma / rate
        return Posterior(weight, level, level * level * (1.0 + 1.0 / gamma))

    def learn_population(
        self,
        listing: NDArray[np.int64],
        guess: torch.Tensor,
        guess_sd: torch.Tensor,
        steps: int = 4,
    ) -> Population:
        """Empirical Bayes: the catalogue's parameters that make its sales most likely.

        Expectation–maximisation over the hypotheses of `listing` (rows with evidence), from the
        defaults, so that the result is a function of the statistics alone.
        """
        start = Population.default(self.bank)
        learned = start
        trust = len(listing) / (len(listing) + PSEUDO_LISTINGS)
        for _ in range(steps if len(listing) else 0):
            belief = self.posterior(listing, learned, guess, guess_sd)
            shapes = belief.weight.sum(2).mean(0)
            off = self.bank.offsets - guess[:, None]  # (n, l)
            marginal = belief.weight.sum(1)
            shift = float((marginal * off).sum(1).mean())
            # the guess's own error is in the prior already; only what exceeds it is the spread
            variance = float((marginal * (off - shift) ** 2).sum(1).mean())
            excess = max(variance - float((guess_sd**2).mean()), 0.0)
            level = float((belief.weight * belief.level).sum((1, 2)).mean())
            learned = replace(
                start,
                shapes=trust * shapes + (1 - trust) * start.shapes,
                shift=trust * shift,
                spread=float(
                    np.clip(np.sqrt(trust * excess + (1 - trust) * start.spread**2), 0.1, 1.5)
                ),
                level=float(np.exp(trust * np.log(level) + (1 - trust) * np.log(start.level))),
            )
        return learned
