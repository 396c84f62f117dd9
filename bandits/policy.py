"""The pricing policy: demand learned, margin multiplied in, a price drawn with its propensity."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bandits import choice
from bandits.curves import Population, as_tensor
from bandits.evidence import Evidence, Posterior
from bandits.features import DIM, MARKET, PRIOR_MEAN, SCALE, Context, features
from bandits.ladders import Ladders, geometric_ladders
from bandits.limits import GUARDRAILS, Limits
from bandits.linucb import LinearUCB

INTERVAL = 1.6448536269514722  # standard normal quantile: 5 % outside on either side

CORRECTED = 20.0
"""The head may raise or lower the own curve by this factor at most."""

RAREST = 1e-4
"""Units per impression below which an outcome's weight in the head grows no further: no sale
where the curve expected next to none may outweigh all others."""

CONSULTED = 500
"""Listings with evidence that are asked, at most, when the catalogue's parameters are learned."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Choices of the policy that a seller may set.

    Attributes:
        arms: prices on a ladder.
        optimism: standard deviations of demand added before margins are multiplied in.
        rule: how a price is drawn from the optimistic scores.
        temperature: relative shortfall at which an arm is e times less likely (softmax).
        gamma: weight of the relative shortfall (inverse_gap); larger explores less.
        floor: share of the draws spread evenly over the ladder.
        ladder_sds: half width of a ladder in standard deviations of the log reference price.
        ladder_margin: half width added to that, log units.
        ridge: strength of the head's prior, in units sold.
        half_life_days: days after which an outcome counts half in the head; None keeps all.
    """

    arms: int = 16
    optimism: float = 0.1
    rule: Literal["softmax", "inverse_gap"] = "softmax"
    temperature: float = 0.01
    gamma: float = 100.0
    floor: float = 0.005
    ladder_sds: float = 2.0
    ladder_margin: float = 0.35
    ridge: float = 25.0
    half_life_days: float | None = None


@dataclass(frozen=True, slots=True)
class Listings:
    """What is to be priced, one row per request.

    Attributes:
        listing: row of the listing in the catalogue, -1 for one that is not in it, int64 (n,).
        anchor: log price that the listing's curves are relative to, (n,).
        per_major: minor units per currency unit, int64 (n,).
        limits: allowed prices.
        leader: row that decides for this one, int64 (n,): its own index, or the first row of
            its family, all of which get one price.
        context: what the features read.
    """

    listing: NDArray[np.int64]
    anchor: NDArray[np.float64]
    per_major: NDArray[np.int64]
    limits: Limits
    leader: NDArray[np.int64]
    context: Context


@dataclass(frozen=True, slots=True)
class Estimates:
    """Demand at each arm, units per impression, float64 (n, k).

    Attributes:
        mean: the estimate. sd: its standard deviation, of own curve and corrections together.
        curve_sd: standard deviation of the own curve alone, before corrections.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    curve_sd: NDArray[np.float64]

    def interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """90 % interval, log-normal with the same mean and standard deviation."""
        mean = np.maximum(self.mean, 1e-300)
        # the mean of a log-normal any wider lies above its own upper end
        spread = np.minimum(np.sqrt(np.log1p((self.sd / mean) ** 2)), 2 * INTERVAL)
        middle = np.log(mean) - spread**2 / 2
        return np.exp(middle - INTERVAL * spread), np.exp(middle + INTERVAL * spread)


@dataclass(frozen=True, slots=True)
class Decisions:
    """Prices drawn, one row per request.

    Attributes:
        ladders: arms, those allowed, and the guardrails that changed them.
        estimates: demand at every arm.
        scores: optimistic profit per impression at every arm, currency units, (n, k).
        propensities: probability of every arm, (n, k); rows sum to 1.
        arm: the arm drawn, int64 (n,).
        features: features of the drawn arm times the own curve's estimate, float32 (n, DIM).
    """

    ladders: Ladders
    estimates: Estimates
    scores: NDArray[np.float64]
    propensities: NDArray[np.float64]
    arm: NDArray[np.int64]
    features: NDArray[np.float32]

    @property
    def price(self) -> NDArray[np.int64]:
        """Price drawn, minor units, int64 (n,)."""
        return np.take_along_axis(self.ladders.prices, self.arm[:, None], 1)[:, 0]


class Policy:
    """Demand model and choice rule; a fold over outcomes, and nothing else, changes it.

    Units per impression at price p are estimated as (own curve at p) × (1 + corrections), where
    the own curve comes from the listing's evidence and guess (`Evidence`), and the linear-UCB
    head learns the corrections from all listings at once. Uncertainties of both add up; optimism
    is taken on demand, and only then is the margin multiplied in.
    """

    def __init__(self, rules: Rules | None = None, device: torch.device | str = "cpu") -> None:
        self.rules = rules or Rules()
        self.device = torch.device(device)  # of the head and of scoring; evidence stays on the CPU
        half_life = self.rules.half_life_days
        self.head = LinearUCB(
            DIM,
            ridge=self.rules.ridge,
            prior_mean=PRIOR_MEAN,
            half_life=half_life and half_life * 86_400e6,
            device=device,
            dtype=torch.float32,
        )
        self.evidence = Evidence()
        self.population = Population.default()

    # -- deciding ---------------------------------------------------------------------------

    def posterior(self, listings: Listings) -> Posterior:
        """Belief about each row's demand curve."""
        context = listings.context
        guess = as_tensor(context.guess - listings.anchor)
        return self.evidence.posterior(
            listings.listing, self.population, guess, as_tensor(context.guess_sd)
        )

    def ladders(self, listings: Listings, belief: Posterior) -> Ladders:
        """Arms around the believed reference price: wide where little is known, then re-centred."""
        location, sd = (t.numpy() for t in belief.location())
        centre = location + listings.anchor
        reach = self.rules.ladder_sds * sd + self.rules.ladder_margin
        known = listings.context.unit_cost > 0
        cost = np.log(np.where(known, listings.context.unit_cost, np.nan))
        # the cost is a limit, and as a limit it lifts the lower end; with a cost above the
        # believed range the best price is still some way over it
        low = centre - reach
        high = np.fmax(centre + reach, np.fmax(low, cost) + 2 * self.rules.ladder_margin)
        scale = np.log(listings.per_major)
        low, high = np.exp(low + scale), np.exp(high + scale)
        if (listings.leader != np.arange(len(low))).any():
            np.minimum.at(low, listings.leader, low.copy())
            np.maximum.at(high, listings.leader, high.copy())
            low, high = low[listings.leader], high[listings.leader]
        return geometric_ladders(low, high, listings.limits, self.rules.arms)

    def estimate(
        self, listings: Listings, belief: Posterior, prices: NDArray[np.float64]
    ) -> tuple[Estimates, torch.Tensor]:
        """Demand at `prices` (currency units, (n, k)), and the head's inputs, (n, k, DIM)."""
        curve, curve_square = self._own_curve(listings, belief, np.log(prices))
        seen = (features(listings.context, np.log(prices)) * torch.from_numpy(SCALE)).to(
            self.device
        )
        x = seen * curve[:, :, None]
        head = self.head.score(x)
        # a correction may not turn demand negative, nor explode it where data are scarce
        mean = torch.minimum(torch.maximum(head.mean, curve / CORRECTED), CORRECTED * curve)
        own = (curve_square - curve**2).clamp_min(0.0)
        sd = torch.sqrt(own * (mean / curve) ** 2 + head.width**2)
        estimates = (t.double().cpu().numpy() for t in (mean, sd, torch.sqrt(own)))
        return Estimates(*estimates), x

    def _own_curve(
        self, listings: Listings, belief: Posterior, log_price: NDArray[np.float64]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """First and second moment of units per impression under own evidence, float32 (n, k)."""
        bank = self.evidence.bank
        relative = torch.as_tensor(log_price - listings.anchor[:, None]).float().to(self.device)
        powers = bank.powers(relative)  # (n, k, s)
        shrink = bank.shrink().float().to(self.device)  # (s, l)
        first = (belief.weight * belief.level).float().to(self.device)  # (n, s, l)
        second = (belief.weight * belief.level_square).float().to(self.device)
        mean = torch.zeros_like(relative)
        square = torch.zeros_like(relative)
        for i, kappa in enumerate(bank.shapes):
            steep = bank.elasticity / kappa
            exponent = torch.mul(-steep * powers[:, :, i, None], shrink[i]).add_(steep)  # (n, k, l)
            # below e⁻⁴⁰ nothing sells, and arguments that underflow take the exponential ten
            # times as long
            curves = exponent.clamp_min_(-40.0).exp_()
            mean += (curves * first[:, i, None]).sum(2)
            square += (curves.square_() * second[:, i, None]).sum(2)
        return mean.clamp_min(1e-9), square

    def decide(
        self,
        listings: Listings,
        ids: NDArray[np.uint64],
        explore: bool = True,
    ) -> Decisions:
        """Price every row in one pass.

        Args:
            listings: n rows, limits feasible, families by `leader`.
            ids: 128-bit decision ids, uint64 (n, 2), from which the draw is derived.
            explore: draw from the propensities; otherwise take the best estimate.
        """
        belief = self.posterior(listings)
        ladders = self.ladders(listings, belief)
        prices = ladders.prices / listings.per_major[:, None]
        estimates, x = self.estimate(listings, belief, prices)
        # without a cost the margin is the price: the objective is revenue
        margin = prices - np.nan_to_num(listings.context.unit_cost)[:, None]
        optimism = self.rules.optimism if explore else 0.0
        scores = margin * (estimates.mean + optimism * estimates.sd)
        leader = listings.leader
        shared = scores
        guardrails = ladders.guardrails
        if (leader != np.arange(len(leader))).any():
            shared = np.zeros_like(scores)
            np.add.at(shared, leader, scores)
            shared = shared[leader]
            size = np.bincount(leader, minlength=len(leader))[leader]
            guardrails = guardrails.copy()
            guardrails[:, GUARDRAILS.index("family")] |= size > 1
        propensities = self._propensities(shared, ladders.allowed, explore)
        arm = choice.draw(propensities, choice.uniforms(ids)[leader])
        chosen = x[torch.arange(len(arm)), torch.as_tensor(arm)]  # (n, DIM)
        return Decisions(
            Ladders(ladders.prices, ladders.allowed, guardrails),
            estimates,
            scores,
            propensities,
            arm,
            chosen.cpu().numpy(),
        )

    def _propensities(
        self, scores: NDArray[np.float64], allowed: NDArray[np.bool_], explore: bool
    ) -> NDArray[np.float64]:
        rules = self.rules
        if not explore:
            return choice.best_arm(scores, allowed)
        if rules.rule == "softmax":
            return choice.softmax(scores, allowed, temperature=rules.temperature, floor=rules.floor)
        return choice.inverse_gap(scores, allowed, gamma=rules.gamma, floor=rules.floor)

    # -- learning ---------------------------------------------------------------------------

    def learn(self, outcomes: "Outcomes") -> None:
        """Fold outcomes into the statistics, with the features of the time of the decision."""
        if len(outcomes.listing) == 0:
            return
        # without impressions there is no rate for the head to learn from
        shown = outcomes.impressions > 0
        x = torch.as_tensor(outcomes.features[shown])
        impressions = torch.as_tensor(outcomes.impressions[shown])
        expected = x[:, 0].double().clamp_min(RAREST)
        # the variance around the curve is Poisson's, plus what the curve itself did not know: what
        # the listing's own evidence is about to explain must not be learned by all others
        units = torch.as_tensor(outcomes.units[shown])
        # sales beyond any correction show a wrong guess, which is the listing's own affair; a few
        # units pass whatever was expected, or outcomes told one impression at a time would not
        units = torch.minimum(units, CORRECTED * expected * impressions + 5.0)
        variance = expected / impressions + torch.as_tensor(outcomes.curve_sd[shown]) ** 2
        self.head.update(
            x,
            units / impressions,
            1.0 / variance,
            at=torch.as_tensor(outcomes.at[shown].astype(np.float64)),
        )
        self.evidence.add(
            outcomes.listing,
            outcomes.anchor,
            outcomes.price,
            outcomes.impressions,
            outcomes.units,
            outcomes.profit,
        )

    def consulted(self) -> NDArray[np.int64]:
        """Listing rows whose evidence teaches the catalogue's parameters, int64 (m,)."""
        rows = np.sort(self.evidence.listing)
        # an even stride keeps the choice a function of the log alone
        return rows[:: max(1, -(-len(rows) // CONSULTED))]

    def learn_population(
        self, listing: NDArray[np.int64], guess: NDArray[np.float64], guess_sd: NDArray[np.float64]
    ) -> None:
        """Learn shapes, shift, spread and level from `consulted()` listings.

        Args:
            listing: rows, (m,). guess: guessed log price − anchor, (m,). guess_sd: (m,).
        """
        self.population = self.evidence.learn_population(
            listing, as_tensor(guess), as_tensor(guess_sd)
        )

    def worth(
        self, listing: NDArray[np.int64], guess: NDArray[np.float64], guess_sd: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log price − anchor that own evidence points to, in the terms of a guess, (m,)."""
        belief = self.evidence.posterior(
            listing, self.population, as_tensor(guess), as_tensor(guess_sd)
        )
        return np.asarray(belief.location(self.evidence.bank)[0].numpy() - self.population.shift)

    # -- explaining -------------------------------------------------------------------------

    def contributions(
        self, listings: Listings, uninformed: Context, prices: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Split estimated units per impression, (n, k), into parts that add up to it.

        `price` is what the catalogue alone says at that price, `text` what the listing's text,
        neighbours, cost and reference price add, `market` the market's features, `own_sales` the
        listing's evidence.

        Args:
            uninformed: the same rows with the catalogue's middle as guess and no text or market.
        """
        strangers = replace(listings, listing=np.full_like(listings.listing, -1))
        steps = (
            ("price", replace(strangers, context=uninformed), False),
            ("text", strangers, False),
            ("market", strangers, True),
            ("own_sales", listings, True),
        )
        parts: dict[str, NDArray[np.float64]] = {}
        before = np.zeros_like(prices)
        for name, rows, with_market in steps:
            estimates, x = self.estimate(rows, self.posterior(rows), prices)
            mean = estimates.mean
            if not with_market:
                theta = self.head.solve()[1][0]
                mean = mean - (x[..., MARKET].double() @ theta[MARKET]).cpu().numpy()
            parts[name] = mean - before
            before = mean
        return parts


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of decisions, one row per outcome.

    Attributes:
        listing: catalogue rows, int64 (m,). anchor: their log anchor prices, (m,).
        price: currency units, (m,). impressions, units (net of returns), profit: float64 (m,).
        curve_sd: the own curve's standard deviation as decided, units per impression, (m,).
        features: as decided, float32 (m, DIM). at: microseconds since 1970 UTC, int64 (m,).
    """

    listing: NDArray[np.int64]
    anchor: NDArray[np.float64]
    price: NDArray[np.float64]
    impressions: NDArray[np.float64]
    units: NDArray[np.float64]
    profit: NDArray[np.float64]
    curve_sd: NDArray[np.float64]
    features: NDArray[np.float32]
    at: NDArray[np.int64]
