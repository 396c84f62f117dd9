"""Each listing's own sales, as additive sufficient statistics, and what they say of its demand."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.curves import DEFAULT_BANK, CurveBank, Population, at_value, log_prior

PSEUDO_LISTINGS = 20.0
"""How many listings' worth of trust the catalogue's defaults keep against what was observed."""

ROUNDS = 3
SPREADS = (0.15, 0.25, 0.4, 0.6, 1.0)
LEVEL_SHAPES = (1.0, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief about each listing's demand curve, rows as asked for.

    Attributes:
        weight: probability of each hypothesis, (n, s, l).
        level: mean of the demand level under each hypothesis, (n, s, l).
        level_square: mean of its square, (n, s, l).
        log_likelihood: log probability of the listing's sales under the population, (n,), up to
            a constant that no parameter changes.
    """

    weight: torch.Tensor
    level: torch.Tensor
    level_square: torch.Tensor
    log_likelihood: torch.Tensor

    def location(self, bank: CurveBank = DEFAULT_BANK) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the reference price's log, from the anchor, (n,) each."""
        marginal = self.weight.sum(1)  # (n, l)
        mean = marginal @ bank.offsets
        variance = marginal @ bank.offsets**2 - mean**2
        return mean, torch.sqrt(variance.clamp_min(0.0))


class Evidence:
    r"""Sufficient statistics of own sales, a row per listing that has any.

    Model: units in n impressions at price p ~ Poisson(n a f_h(p)) with h a curve of the bank and
    a ~ Gamma(k, β_h). The level integrates out (Gamma–Poisson conjugacy):

        log P(h | sales) = log P(h) + Σ u log f_h(p) + k log β_h − (k + U) log(β_h + Σ n f_h(p))
        a | h, sales ~ Gamma(k + U, β_h + Σ n f_h(p)),   U = Σ u,

    up to a constant. β_h = k f_h(value) / mean level: buyers convert alike where a listing is
    priced at what it is worth, whatever their elasticity there (see `at_value`).

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
        k = torch.tensor(population.level_shape, dtype=torch.float64)
        prior_rate = k / population.level * at_value(bank, population, guess, guess_sd)
        rate = prior_rate + exposure.view(shape)
        gamma = k + units
        joint = log_prior(bank, population, guess, guess_sd) + log_units
        joint += k * torch.log(prior_rate) - gamma * torch.log(rate)
        joint = joint.flatten(1)
        # the part that no hypothesis changes, but that the population's parameters do
        common = torch.lgamma(k + units[:, 0, 0]) - torch.lgamma(k)
        level = gamma / rate
        return Posterior(
            torch.softmax(joint, dim=1).view(shape),
            level,
            level * level * (1.0 + 1.0 / gamma),
            torch.logsumexp(joint, dim=1) + common,
        )

    def learn_population(
        self, listing: NDArray[np.int64], guess: torch.Tensor, guess_sd: torch.Tensor
    ) -> Population:
        """Empirical Bayes: the population's parameters that make the listings' sales most likely.

        Shapes, shift and level by expectation–maximisation, spread and level shape by search of
        the marginal likelihood, in turn and from the defaults: the result is a function of the
        statistics alone. The defaults keep the weight of `PSEUDO_LISTINGS`.

        Args: as `posterior`; rows with evidence.
        """
        start = Population.default(self.bank)
        if len(listing) == 0:
            return start
        learned = start
        for _ in range(ROUNDS):
            belief = self.posterior(listing, learned, guess, guess_sd)
            learned = self._maximised(start, learned, belief, guess, guess_sd)
            for name, tried in (("spread", SPREADS), ("level_shape", LEVEL_SHAPES)):
                rivals = [_with(learned, name, value) for value in tried]
                fits = [
                    float(self.posterior(listing, rival, guess, guess_sd).log_likelihood.sum())
                    - PSEUDO_LISTINGS * float(np.log(value / getattr(start, name))) ** 2 / 2
                    for rival, value in zip(rivals, tried, strict=True)
                ]
                learned = rivals[int(np.argmax(fits))]
        return learned

    def _maximised(
        self,
        start: Population,
        learned: Population,
        belief: Posterior,
        guess: torch.Tensor,
        guess_sd: torch.Tensor,
    ) -> Population:
        """The step of expectation–maximisation in shapes, shift and level."""
        trust = len(guess) / (len(guess) + PSEUDO_LISTINGS)
        off = self.bank.offsets - guess[:, None]  # (n, l)
        shift = float((belief.weight.sum(1) * off).sum(1).mean())
        at_worth = belief.level * at_value(self.bank, learned, guess, guess_sd)
        level = float((belief.weight * at_worth).sum((1, 2)).mean())
        return replace(
            learned,
            shapes=trust * belief.weight.sum(2).mean(0) + (1 - trust) * start.shapes,
            shift=trust * shift,
            level=float(np.exp(trust * np.log(level) + (1 - trust) * np.log(start.level))),
        )


def _with(population: Population, name: str, value: float) -> Population:
    changed: dict[str, Any] = {name: value}
    return replace(population, **changed)
