"""Each listing's own sales, as additive sufficient statistics, and what they say of its demand."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.curves import DEFAULT_BANK, CurveBank
from bandits.dispersion import Chance
from bandits.population import Known, Population, Prior, prior

DAY_US = 86_400_000_000

RECENT_DAYS = 4.0
"""Half-life of the sums that show what has changed lately."""

LEVEL_DRIFT = 0.05
"""Squared coefficient of variation of what a listing's level has moved by between its older sales
and its recent ones: it is off by a fifth. Not learned, for where levels stay it costs nothing."""

SPREAD = 6
"""Columns of a listing's sums that are about how its units vary, and U, the last."""

_CURVE_ERROR = 0.1  # log units by which recent sales may be off older ones, for curves are off
_CHANCE, _MOVED_MOST = 4.0, 1.0  # times the variance of chance that is no move, and the most
_LEAST = 1e-9  # impressions, below which nothing was shown
_SLICE = 8192  # events whose curves are worked out at once


@dataclass(frozen=True, slots=True)
class Posterior:
    """Belief about each listing's demand curve, rows as asked for.

    Attributes:
        weight: probability of each hypothesis, (n, s, l).
        level: mean of the demand level under each hypothesis, (n, s, l).
        shape: shape of the level's Gamma distribution, (n, s, l); its rate is shape / level.
        log_worth: expected log worth − anchor under each hypothesis, (n, s, l).
        log_likelihood: log probability of the listing's sales under the population, (n,), up to
            a constant that no parameter changes.
    """

    weight: torch.Tensor
    level: torch.Tensor
    shape: torch.Tensor
    log_worth: torch.Tensor
    log_likelihood: torch.Tensor

    def take(self, rows: torch.Tensor) -> "Posterior":
        """The given rows."""
        return Posterior(*(getattr(self, name)[rows] for name in Posterior.__slots__))

    def worth(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of log worth − anchor over hypotheses, (n,) each."""
        return _moments(self.weight, self.log_worth)

    def location(self, bank: CurveBank = DEFAULT_BANK) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the reference price's log, from the anchor, (n,) each."""
        return _moments(self.weight, bank.offsets)


def _moments(weight: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mean = (weight * value).sum((1, 2))
    variance = (weight * value**2).sum((1, 2)) - mean**2
    return mean, torch.sqrt(variance.clamp_min(0.0))


class Evidence:
    r"""Sufficient statistics of own sales, a row per listing that has any.

    Model: units in n impressions at price p ~ Poisson(n a f_h(p)) with h a curve of the bank and
    a ~ Gamma(k, β_h). The level integrates out (Gamma–Poisson conjugacy):

        log P(h | sales) = log P(h) + Σ u log f_h(p) + k log β_h − (k + U) log(β_h + Σ n f_h(p))
        a | h, sales ~ Gamma(k + U, β_h + Σ n f_h(p)),   U = Σ u,

    up to a constant. β_h = k f_h(worth) / mean level: buyers convert alike where a listing is
    priced at what it is worth, whatever their elasticity there.

    A level that moves while the price does would look like the buyers' answer to the price. So
    recent sales have a level of their own, and Gamma(γ, r) after the older ones is taken for

        a | h, older sales ~ Gamma(ρ γ, ρ r),   ρ = 1 / (1 + w δ² γ),

    before them: the mean stays, its squared coefficient of variation grows by w δ², with δ² the
    `LEVEL_DRIFT` and w the share of all that was shown that is older (a discounted Gamma; Harvey &
    Fernandes, "Time series models for count or qualitative observations", JBES 1989, section 2).
    That tells curves apart, and where the level is now. How surely that is known is said as if it
    had stayed, by the shape k + U: intervals would else be too wide wherever it has. Where recent
    sales are off the older ones by more than chance, it has not, and the squared coefficient of
    variation grows by as much as they are (`_moved`).

    Σ u log f_h needs only Σ u exp(κ z) for each shape, so a row's sums are the m exposures
    Σ n f_h(p), those s powers, what tells how units vary (decisions, Σ m, Σ m² and Σ u² / m, with m
    the impressions times the bank's `usual` answer to the price, and the pairs Σ u (u − 1)), and U.
    All are sums: they merge by addition and do not depend on the order of events. They are kept
    twice, for good (or with `half_life`) and with a half-life of `RECENT_DAYS`; what is older is
    the difference. Sums are `tempered` when they are read.

    Args:
        half_life: microseconds after which a sale counts half; None keeps all.

    Attributes:
        sums: (rows, 2, m + s + 6): for good, recent. totals: units, impressions, revenue and
            profit (currency units), (rows, 4), never forgotten.
        as_of: time to which a row's sums are decayed, (rows,).
        anchor: log price, currency units, that a row's sums are relative to, (rows,).
    """

    def __init__(self, bank: CurveBank = DEFAULT_BANK, half_life: float | None = None) -> None:
        self.bank, self.half_life = bank, half_life
        self.slot = np.full(0, -1, np.int64)  # listing row → row here, -1 without evidence
        self.listing = np.empty(0, np.int64)  # row here → listing row
        self.sums = torch.zeros(0, 2, bank.size + len(bank.shapes) + SPREAD, dtype=torch.float64)
        self.totals = torch.zeros(0, 4, dtype=torch.float64)
        self.anchor = np.empty(0)  # log price, currency units
        self.as_of = np.empty(0)

    def __len__(self) -> int:
        return len(self.listing)

    def _slots(self, listing: NDArray[np.int64], anchor: NDArray[np.float64]) -> NDArray[np.int64]:
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
            self.as_of = np.concatenate([self.as_of, np.full(len(new), -np.inf)])
            room = len(self.listing) - len(self.sums)
            if room > 0:
                extra = max(room, len(self.sums), 64)
                self.sums, self.totals = (
                    torch.cat([t, torch.zeros(extra, *t.shape[1:], dtype=t.dtype)])
                    for t in (self.sums, self.totals)
                )
        return np.asarray(self.slot[listing])

    def add(
        self,
        listing: NDArray[np.int64],
        anchor: NDArray[np.float64],
        price: NDArray[np.float64],
        impressions: NDArray[np.float64],
        units: NDArray[np.float64],
        profit: NDArray[np.float64],
        at: NDArray[np.int64],
        telling: NDArray[np.float64] | None = None,
        beside: NDArray[np.float64] | float = 1.0,
    ) -> None:
        """Add sales, all (m,).

        Args:
            listing: listing rows, repeats allowed. anchor: their log anchor prices, the same for
                all sales of a listing.
            price: currency units. impressions: 0 where unknown. units: net of returns.
            profit: currency units; revenue where the cost is unknown.
            at: microseconds since 1970 UTC, in any order.
            telling: what of it tells of demand, as `telling_of` has it, (m, 6); all of it unless
                given. beside: what prices are multiplied by to be beside what listings are usually
                worth, (m,).
        """
        if len(listing) == 0:
            return
        slots = self._slots(listing, anchor)
        self.anchor[slots] = anchor
        kept = self._decay(slots, at.astype(np.float64))  # (m, 2)
        rows = torch.as_tensor(slots)
        log_price = torch.as_tensor(np.log(price * beside) - anchor)
        if telling is None:
            telling = telling_of(impressions, units)
        n, u, pairs, over, square, seen = torch.as_tensor(telling).unbind(1)
        usual = self.bank.usual(log_price)
        spread = [seen, n * usual, square * usual**2, over / usual, pairs, u]
        # events are added in slices: a million of them times m curves would not fit in memory
        for part in torch.split(torch.arange(len(rows)), _SLICE):
            curves = self.bank.demand(log_price[part]).flatten(1) * n[part, None]  # (m, s·l)
            powers = self.bank.powers(log_price[part]) * u[part, None]
            rest = [column[part, None] for column in spread]
            event = torch.cat([curves, powers, *rest], dim=1)
            self.sums.index_add_(0, rows[part], event[:, None, :] * kept[part][:, :, None])
        money = torch.as_tensor(np.stack([units, impressions, units * price, profit], axis=1))
        self.totals.index_add_(0, rows, money)

    def _decay(self, slots: NDArray[np.int64], at: NDArray[np.float64]) -> torch.Tensor:
        """Move rows on to their latest event; the weight left to each event, (m, 2)."""
        touched, place = np.unique(slots, return_inverse=True)
        before = self.as_of[touched]
        latest = before.copy()
        np.maximum.at(latest, place, at)
        self.as_of[touched] = latest
        lasting = self.half_life or np.inf
        # nothing may be forgotten for good before it is no longer recent
        lives = np.array([lasting, min(lasting, RECENT_DAYS * DAY_US)])
        with np.errstate(invalid="ignore"):
            aged = np.where(np.isfinite(before), latest - before, 0.0)
        rows = torch.as_tensor(touched)
        self.sums[rows] *= torch.as_tensor(0.5 ** (aged[:, None] / lives))[:, :, None]
        return torch.as_tensor(0.5 ** ((latest[place] - at)[:, None] / lives))

    def forget(self, listing: NDArray[np.int64]) -> None:
        """Be as without any sales of listing rows."""
        slots = self.rows_of(listing)
        slots = slots[slots >= 0]
        rows = torch.as_tensor(slots)
        self.sums[rows], self.totals[rows] = 0.0, 0.0
        self.as_of[slots] = -np.inf

    def restore(
        self,
        listing: NDArray[np.int64],
        anchor: NDArray[np.float64],
        sums: torch.Tensor,
        totals: torch.Tensor,
        as_of: NDArray[np.float64],
    ) -> None:
        """Take over statistics saved earlier, a row per listing."""
        self.listing, self.anchor, self.as_of = listing, anchor, as_of
        self.sums, self.totals = sums, totals
        self.slot = np.full(int(listing.max(initial=-1)) + 1, -1, np.int64)
        self.slot[listing] = np.arange(len(listing))

    def rows_of(self, listing: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows here of listing rows, -1 without evidence, int64 (n,)."""
        slot = np.full(len(listing), -1, np.int64)
        inside = (listing >= 0) & (listing < len(self.slot))
        slot[inside] = self.slot[listing[inside]]
        return slot

    def totals_of(self, listing: NDArray[np.int64]) -> torch.Tensor:
        """Totals of listing rows, (n, 4); zeros without sales."""
        slot = self.rows_of(listing)
        totals = torch.zeros(len(listing), 4, dtype=torch.float64)
        found = torch.as_tensor(np.flatnonzero(slot >= 0))
        totals[found] = self.totals[torch.as_tensor(slot[slot >= 0])]
        return totals

    def gather(self, listing: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
        """(sums (n, 2, m + s + 6), totals (n, 4)) of listing rows; zeros without sales."""
        n = len(listing)
        slot = self.rows_of(listing)
        found = torch.as_tensor(np.flatnonzero(slot >= 0))
        source = torch.as_tensor(slot[slot >= 0])
        sums = torch.zeros(n, *self.sums.shape[1:], dtype=torch.float64)
        sums[found] = self.sums[source]
        return sums, self.totals_of(listing)

    def posterior(
        self, listing: NDArray[np.int64], population: Population, known: Known
    ) -> Posterior:
        """Belief about listing rows (-1: a listing without a row)."""
        sums = tempered(self.gather(listing)[0], population.chance)
        return posterior(self.bank, sums, population, known)


def posterior(
    bank: CurveBank, sums: torch.Tensor, population: Population, known: Known
) -> Posterior:
    """Belief given sums of own sales, for good and recent, tempered, (n, 2, m + s + 6); formulas
    at `Evidence`.
    """
    return updated(bank, sums, population, prior(bank, population, known))


def updated(
    bank: CurveBank, sums: torch.Tensor, population: Population, before: Prior
) -> Posterior:
    """As `posterior`, from the belief before any sales."""
    s = len(bank.shapes)
    shape = (len(sums), s, bank.locations)
    every, recent = sums.unbind(1)
    older = every - recent
    powers = every[:, bank.size : bank.size + s].clamp_min(0.0)
    units = every[:, -1].clamp_min(0.0)  # returns may outrun sales for a while
    slope = (-bank.elasticity / bank.kappa)[:, None]  # (s, 1)
    log_units = slope * (bank.shrink() * powers[:, :, None] - units[:, None, None])
    # a level is doubted for its own sake and because the worth may lie off what is expected of it
    k = 1.0 / (1.0 / population.level_shape + before.doubt)  # (n, s, l)
    prior_rate = k / population.level * before.at_worth
    joint = before.log_weight + log_units + k * torch.log(prior_rate)
    units_before = older[:, -1].clamp_min(0.0).minimum(units)
    gamma = k + units_before[:, None, None]
    rate = prior_rate + older[:, : bank.size].clamp_min(0.0).view(shape)
    joint = joint - gamma * torch.log(rate) + _risen(k, units_before)
    shown_before, shown = older[:, -SPREAD + 1], every[:, -SPREAD + 1].clamp_min(_LEAST)
    drift = LEVEL_DRIFT * (shown_before / shown).clamp(0.0, 1.0)
    kept = 1.0 / (1.0 + drift[:, None, None] * gamma)
    gamma, rate = kept * gamma, kept * rate
    lately = units - units_before
    joint = joint + gamma * torch.log(rate) + _risen(gamma, lately)
    gamma = gamma + lately[:, None, None]
    rate = rate + recent[:, : bank.size].view(shape)
    joint = (joint - gamma * torch.log(rate)).flatten(1)
    weight, level = torch.softmax(joint, dim=1), gamma / rate
    moved = _moved(older, recent, weight * level.flatten(1))[:, None, None]
    stayed = k + units[:, None, None]
    return Posterior(
        weight.view(shape),
        level,
        stayed / (1.0 + stayed * moved),
        before.log_worth,
        torch.logsumexp(joint, dim=1),
    )


def _moved(older: torch.Tensor, recent: torch.Tensor, demand: torch.Tensor) -> torch.Tensor:
    """Squared log units by which recent sales are off older ones beyond what chance explains, (n,).

    Args:
        older, recent: sums, tempered, (n, m + s + 6). demand: what is believed of each curve, its
            weight times its level, (n, m).
    """
    both = torch.stack([older, recent], dim=1).clamp_min(0.0)
    units = both[..., -1]
    expected = (both[..., : demand.shape[1]] @ demand[:, :, None])[..., 0] + 0.5
    off = torch.log((units + 0.5) / expected)
    chance = (1.0 / expected).sum(1) + _CURVE_ERROR**2
    return ((off[:, 1] - off[:, 0]) ** 2 - _CHANCE * chance).clamp(0.0, _MOVED_MOST)


def _risen(shape: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
    """log Γ(shape + by) − log Γ(shape), (n, s, l), of rises (n,): worked out where there is one.

    It takes a tenth of a decision's time, and most listings have not sold lately.
    """
    rows = by.nonzero()[:, 0]
    if len(rows) == len(by):
        return torch.lgamma(shape + by[:, None, None]) - torch.lgamma(shape)
    risen = torch.zeros_like(shape)
    start = shape[rows]
    risen[rows] = torch.lgamma(start + by[rows, None, None]) - torch.lgamma(start)
    return risen


def telling_of(impressions: NDArray[np.float64], units: NDArray[np.float64]) -> NDArray[np.float64]:
    """What decisions tell of demand: impressions, units, pairs of units, units² / impressions,
    impressions² and 1 for a decision, (m, 6). Units that nobody is known to have looked at tell
    nothing: of how many they are cannot be said.

    Args:
        impressions, units: all that is known of a decision, units net of returns, (m,).
    """
    pairs = units * (units - 1.0) * (units > 0)
    over = units**2 / np.where(impressions > 0, impressions, 1.0)
    told = [impressions, units, pairs, over, impressions**2, np.ones_like(units)]
    return np.where((impressions > 0)[:, None], np.stack(told, axis=1), 0.0)


def spread(sums: torch.Tensor) -> torch.Tensor:
    """What `order_size` reads of sums (n, m + s + 6), (n, 5)."""
    count, mean, squares, over, _, units = sums[:, -SPREAD:].T
    return torch.stack([count, units, mean, squares, over], dim=1)


def tempered(sums: torch.Tensor, chance: Chance) -> torch.Tensor:
    r"""Sums (n, 2, …) as if of fewer sales: as many as count independently.

    Where units are bought in orders, a unit in one of s on average, and the demand of a day is off
    by chance of its own, with squared coefficient of variation φ, units u around μ have variance
    s μ + φ μ², not μ. All of a listing's vary by s U + φ P, with P = Σ u (u − s) of the mean Σ μ²,
    and count 1 / (s + φ P / U) each: quasi-likelihood (McCullagh & Nelder, "Generalized Linear
    Models", 1989, section 9.2), the dispersion being the listing's own. Days without a sale count
    as the others do: s is no matter of what came.
    """
    size = chance.order_size
    pairs, units = sums[:, 0, -2], sums[:, 0, -1]
    apart = (pairs - (size - 1.0) * units).clamp_min(0.0)
    return sums / (size + chance.overdispersion * apart / units.clamp_min(1.0))[:, None, None]
