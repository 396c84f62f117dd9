"""The demand model: units per impression at a price, and how sure that is."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.alignment import Alignment
from bandits.category_days import CategoryDays
from bandits.curves import as_tensor
from bandits.days import MOST, DayEffects
from bandits.dispersion import Chance, Dispersion, order_size
from bandits.empirical_bayes import learn_population
from bandits.evidence import (
    DAY_US,
    Evidence,
    Posterior,
    posterior,
    spread,
    telling_of,
    tempered,
    updated,
)
from bandits.features import (
    DIM,
    MARKET,
    PASSING,
    PRIOR_MEAN,
    SCALE,
    Context,
    features,
    traits,
)
from bandits.intervals import demand_intervals
from bandits.linucb import LinearUCB
from bandits.population import Known, Population, implied, prior
from bandits.profile import STEP, Profile
from bandits.records import WIDEST, Estimates, Listings, Outcomes
from bandits.shifts import ELASTICITIES, CommonShift, factor
from bandits.telling import CORRECTED, PASSED, told_of_all, told_of_days, told_so_far
from bandits.trunk import Trunk
from bandits.words import shared_words

CONSULTED = 2000
"""Listings with evidence that are asked, at most, when the catalogue's parameters are learned."""

_USUAL = 30.0  # times the median listing's units per impression, above which none tells of others

_TELLING = 0.5  # share of the variance of a worth that own sales must take away to tell of it

_NO_CURVE = 1e-30  # below it features × curve say nothing of the features


class Demand:
    """What listings sell at a price; a fold over outcomes, and nothing else, changes it.

    Units per impression at price p are estimated as (own curve at p) × (1 + corrections), where
    the own curve comes from the listing's evidence and from what is known of it (`Evidence`,
    `Population`), and the linear-UCB head learns the corrections from all listings at once.
    Uncertainties of both add up.

    Args:
        ridge: strength of the head's prior, in units sold. half_life_days: days after which an
            outcome counts half; None keeps all.
        trunk: learned features for the head beside the raw ones; the head starts empty under it.
    """

    def __init__(
        self,
        ridge: float,
        half_life_days: float | None,
        device: torch.device | str = "cpu",
        trunk: Trunk | None = None,
    ) -> None:
        self.trunk = trunk.to(device) if trunk else None
        extra = trunk.dim - DIM if trunk else 0  # learned features come first
        self.device = torch.device(device)  # of the head and of scoring; evidence stays on the CPU
        half_life = half_life_days and half_life_days * DAY_US
        self.head = LinearUCB(
            DIM + extra,
            ridge=ridge,
            prior_mean=np.concatenate([np.zeros(extra), PRIOR_MEAN]),
            half_life=half_life,
            device=device,
            dtype=torch.float32,
        )
        self.evidence = Evidence(half_life=half_life)
        self.dispersion = Dispersion()
        self.days = DayEffects()
        self.category_days = CategoryDays(self.days)
        self.shift = CommonShift()
        self.population = Population.default()
        self.alignment = Alignment()

    # -- estimating -------------------------------------------------------------------------

    def known(self, context: Context, anchor: NDArray[np.float64]) -> Known:
        """What a context tells of listings before they sell, relative to their anchors, (n,)."""
        return _known(self.population, self.alignment, context, anchor)

    def expect(self, markup: float) -> None:
        """Expect buyers as elastic as the shop's usual log(price / cost) says they are."""
        lean = implied(markup)
        if lean != self.population.lean:
            self.population = replace(self.population, lean=lean)

    def posterior(self, listings: Listings, today: bool = True) -> Posterior:
        """Belief about each row's demand curve.

        Args:
            today: as it is expected to be on the day of its context (`bandits.days`); otherwise as
                on a usual one.
        """
        known = self.known(listings.context, listings.anchor)
        belief = self.evidence.posterior(listings.listing, self.population, known)
        if not today:
            return belief
        day = torch.as_tensor(self.forecast(listings))
        return replace(belief, level=belief.level * day[:, None, None])

    def placed(self, listings: Listings) -> Listings:
        """Listings whose curves lie at what they are worth on the days of their contexts."""
        return replace(listings, anchor=listings.anchor + self.shift.forecast(listings.context.at))

    def forecast(self, listings: Listings) -> NDArray[np.float64]:
        """Times the usual demand of listings alike that is expected of each row's day, (n,)."""
        context = listings.context
        usual = self.days.forecast(context.at)
        mine = self.category_days.forecast(listings.listing, context.category, context.at)
        return np.asarray(np.clip(usual * mine, 1.0 / MOST, MOST))

    def profile(self, belief: Posterior) -> Profile:
        """Demand under own evidence over a grid of prices."""
        return Profile.of(self.evidence.bank, belief, self.device)

    def estimate(
        self,
        listings: Listings,
        profile: Profile,
        prices: NDArray[np.float64],
        with_market: bool = True,
    ) -> tuple[Estimates, torch.Tensor]:
        """Demand at `prices` (currency units, (n, k)), and features × curve, (n, k, DIM)."""
        log_price = np.log(prices)
        relative = torch.as_tensor(log_price - listings.anchor[:, None]).float().to(self.device)
        curve, own = profile.at(relative)
        seen = (features(listings.context, log_price) * torch.from_numpy(SCALE)).to(self.device)
        if not with_market:
            seen[..., MARKET] = 0.0
        x = seen * curve[:, :, None]
        mean, width = self.corrected(x)
        sd = torch.sqrt((own * (mean / curve)) ** 2 + width**2)
        units, *spread = (t.double().cpu().numpy() for t in (mean, sd, own, width))
        return Estimates(np.minimum(units, listings.most()[:, None]), *spread), x

    def corrected(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Demand with its corrections and their width, (…) each, of features × curve, (…, DIM)."""
        curve, head = x[..., 0], self.head.score(self._seen(x))
        # a correction may not turn demand negative, nor explode it where data are scarce
        mean = torch.minimum(torch.maximum(head.mean, curve / CORRECTED), CORRECTED * curve)
        return mean, head.width

    def of_day(
        self,
        listings: Listings,
        profile: Profile,
        price: NDArray[np.float64],
        curve: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Times the usual demand that is expected of the day at a price of each row, and the
        elasticity there on a usual day, (n,) each.

        Args:
            listings: where curves lie on a usual day. price: currency units, (n,). curve: own
                curves there on the day, (n,).
        """
        relative = torch.as_tensor(np.log(price) - listings.anchor).float().to(self.device)
        around = relative[:, None] + torch.tensor([-STEP, 0.0, STEP], device=self.device)
        low, usual, high = profile.at(around)[0].double().cpu().numpy().T
        # far out on a steep curve next to nobody buys, shifted or not
        day = np.clip(self.forecast(listings) * curve / usual, MOST**-2, MOST**2)
        return day, np.clip(np.log(low / high) / (2 * STEP), 0.0, ELASTICITIES[-1])

    def passing(self, x: torch.Tensor) -> NDArray[np.float64]:
        """Times the usual demand that is expected by what passes (`PASSING`), of features × curve
        (n, DIM), (n,): the same listing's demand at the same price, with it over without it.
        """
        times = np.ones(len(x))
        rows = (x[:, PASSING] != 0).any(1).nonzero()[:, 0]
        if len(rows):
            usual = x[rows]  # a copy
            usual[:, PASSING] = 0.0
            today, else_day = (self.corrected(one)[0].double() for one in (x[rows], usual))
            ratio = (today / else_day).clamp(1.0 / CORRECTED, CORRECTED)
            times[rows.cpu().numpy()] = ratio.cpu().numpy()
        return times

    def _seen(self, x: torch.Tensor) -> torch.Tensor:
        """What the head sees of features × curve, (…, DIM), whose first feature is the curve."""
        if self.trunk is None:
            return x
        x = x.to(self.device)
        curve = x[..., :1]
        return self.trunk.features(x / curve.clamp_min(_NO_CURVE)) * curve

    def interval(
        self,
        listings: Listings,
        belief: Posterior,
        price: NDArray[np.float64],
        estimates: Estimates,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of 90 % intervals of demand at one price of each row, units per impression, (n,).

        Args:
            price: currency units, (n,). estimates: at these prices, (n,) each.
        """
        mean = estimates.mean
        # the last bits of a width are another's from call to call: equal requests are told the same
        extra = np.minimum(estimates.width / mean, WIDEST).round(4)
        log_price = np.log(price) - listings.anchor
        ends = demand_intervals(self.evidence.bank, belief, log_price, mean, extra)
        low, high = (np.minimum(end, listings.most()) for end in ends)
        return low, high

    # -- learning ---------------------------------------------------------------------------

    def learn(self, outcomes: Outcomes, before: NDArray[np.float64] | None = None) -> None:
        """Fold outcomes into the statistics, with the features of the time of the decision.

        Args:
            before: as for `learn_corrections`.
        """
        if len(outcomes.listing) == 0:
            return
        self.learn_corrections(outcomes, before)
        self.learn_curves(outcomes, before)
        told = told_of_days(outcomes, before)
        self.shift.add(outcomes.listing, outcomes.at, told, outcomes.elasticity)
        told[1] *= factor(outcomes.worth, outcomes.elasticity)
        self.days.add(outcomes.listing, outcomes.at, told)
        self.category_days.add(outcomes.listing, outcomes.category, outcomes.at, told)

    def dated(self, outcomes: Outcomes, before: NDArray[np.float64] | None = None) -> Outcomes:
        """Outcomes with what their days were, `day` and `worth`, which are not read; `before` as
        below.
        """
        told = told_of_days(outcomes, before)
        listing, at, category = outcomes.listing, outcomes.at, outcomes.category
        worth = self.shift.shown(listing, at, told, outcomes.elasticity)
        times = factor(worth, outcomes.elasticity)
        told[1] *= times
        forecast = outcomes.day_expected / factor(outcomes.worth_expected, outcomes.elasticity)
        usual = self.days.shown(listing, at, told, forecast)
        mine = self.category_days.shown(listing, category, at, told, usual)
        return replace(outcomes, day=times * mine, worth=worth)

    def learn_curves(self, outcomes: Outcomes, before: NDArray[np.float64] | None = None) -> None:
        """Fold outcomes into their listings' own evidence alone; `before` as below.

        Units are Poisson with mean n c d a f(p), c what passed at the decision and d what the day
        was to all listings: promotions come with lower prices, busy days with other prices than
        quiet ones, and neither is to be taken for what buyers answer to price. Where worths have
        moved, p is what the price is beside them.
        """
        alike = outcomes.passing / factor(outcomes.worth, outcomes.elasticity)
        together, earlier = (
            np.stack([told[:, 2] * alike, told[:, 1]], axis=1)
            for told in told_so_far(outcomes, before)
        )
        self.evidence.add(
            outcomes.listing,
            outcomes.anchor,
            outcomes.price,
            outcomes.impressions,
            outcomes.units,
            outcomes.profit,
            outcomes.at,
            telling_of(*together.T) - telling_of(*earlier.T),
            np.exp(-outcomes.worth),
        )

    def learn_corrections(
        self, outcomes: Outcomes, before: NDArray[np.float64] | None = None
    ) -> None:
        """Fold outcomes into the head, and into what is known of chance, alone.

        What a decision showed counts as a whole, however many outcomes told it: with each, what
        was learned from those before it is taken back, and what they all say together is learned.

        Args:
            before: impressions, units net of returns, impressions times what their days were, and
                units that came back, that each decision's earlier outcomes told, (m, 4); none
                unless given.
        """
        together, earlier = told_so_far(outcomes, before)
        both = np.concatenate([together, earlier])
        sign = torch.ones(len(both), dtype=torch.float64)
        sign[len(together) :] = -1.0
        # without impressions there is no rate for the head to learn from
        shown = np.flatnonzero(both[:, 0] > 0)
        row = shown % max(len(together), 1)
        x = torch.as_tensor(outcomes.features[row])
        impressions, units, usual = torch.as_tensor(both[shown]).unbind(1)
        curve, curve_sd = x[:, 0].double(), torch.as_tensor(outcomes.curve_sd[row])
        # neither what passes nor what days are to all is chance; the curve knew of the day before
        expected = torch.as_tensor((outcomes.passing / outcomes.day_expected)[row]) * usual
        self.dispersion.add(curve, curve_sd, expected, units, sign[shown])
        rate, variance = told_of_all(curve, curve_sd, impressions, units)
        self.head.update(
            self._seen(x),
            rate,
            sign[shown] / variance,
            at=torch.as_tensor(outcomes.at[row].astype(np.float64)),
        )

    def consulted(self) -> NDArray[np.int64]:
        """Listing rows whose evidence teaches the catalogue's parameters, int64 (m,)."""
        evidence = self.evidence
        units, _, revenue, _ = evidence.totals[: len(evidence)].numpy().T
        # of those who looked, and could buy
        told, usual = spread(evidence.sums[: len(evidence), 0]).numpy().T[1:3]
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.abs(np.log(revenue / units) - evidence.anchor)  # NaN: nothing was sold
            rate = told / usual
        # no curve tells of sales so far off, but by a level that would be thought everybody's; nor
        # is it everybody's what nobody else comes near
        shown = usual > 0
        sold = rate[shown & (told > 0)]
        middle = np.median(sold) if len(sold) else 0.0
        slip = shown & (told > _USUAL * middle * usual + PASSED)
        rows = np.sort(evidence.listing[~((off > evidence.bank.reach) | slip)])
        # an even stride keeps the choice a function of the log alone
        return rows[:: max(1, -(-len(rows) // CONSULTED))]

    def learn_population(
        self, listing: NDArray[np.int64], anchor: NDArray[np.float64], context: Context
    ) -> None:
        """Learn the distribution of demand curves from `consulted()` listings.

        Args:
            listing: rows, (m,). anchor: log prices, (m,). context: of the listings as strangers,
                guessed without their own sales.
        """
        self.population, self.alignment = self.population_lesson(listing, anchor, context)()

    def population_lesson(
        self, listing: NDArray[np.int64], anchor: NDArray[np.float64], context: Context
    ) -> Callable[[], tuple[Population, Alignment]]:
        """What `learn_population` would learn, for any thread to work out: all it reads is taken
        now, and the model is not changed.
        """
        bank = self.evidence.bank
        raw, _ = self.evidence.gather(listing)
        size = order_size(spread(raw[:, 0]))
        chance = Chance(size, self.dispersion.learned(size))
        sums = tempered(raw, chance)
        before_that = self.population, self.alignment

        def learned() -> tuple[Population, Alignment]:
            vocabulary = shared_words(context.words)
            blocks = traits(context, vocabulary)
            known = _told(*before_that, context, anchor, blocks)
            found = learn_population(bank, sums, known, before_that[0].lean)
            found = replace(
                found, order_size=chance.order_size, overdispersion=chance.overdispersion
            )
            if "words" in found.effects:
                found = replace(found, vocabulary=vocabulary)
            # doubts are about guesses as they are made
            known = _known(found, Alignment(), context, anchor)
            before, after = (
                posterior(bank, part, found, known) for part in (torch.zeros_like(sums), sums)
            )
            return found, Alignment.learn(context.category, before, after)

        return learned

    def worth_lesson(
        self, listing: NDArray[np.int64], anchor: NDArray[np.float64], context: Context
    ) -> Callable[[], NDArray[np.float64]]:
        """Log price that listings' own evidence points to, in the terms of a guess, (m,), NaN where
        it says less than the guess; arguments as above, to be worked out as `population_lesson`.
        """
        population, alignment = self.population, self.alignment
        bank = self.evidence.bank
        sums = tempered(self.evidence.gather(listing)[0], population.chance)

        def learned() -> NDArray[np.float64]:
            before = prior(bank, population, _known(population, alignment, context, anchor))
            (_, guessed_sd), (worth, sd) = (
                updated(bank, part, population, before).worth()
                for part in (torch.zeros_like(sums), sums)
            )
            # else the guess comes back as a price, and would prove itself right
            told = sd**2 <= (1.0 - _TELLING) * guessed_sd**2
            worth = torch.where(told, worth - population.shift, torch.nan)
            return np.asarray(worth.numpy() + anchor)

        return learned

    # -- explaining -------------------------------------------------------------------------

    def contributions(
        self, listings: Listings, uninformed: Context, prices: NDArray[np.float64]
    ) -> dict[str, NDArray[np.float64]]:
        """Split estimated units per impression, (n, k), into parts that add up to it.

        `price` is what the catalogue alone says at that price, `text` what the listing's text,
        neighbours, cost and reference price add, `market` the market's features and what the day
        is to all listings, `own_sales` the listing's evidence.

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
            profile = self.profile(self.posterior(rows, today=with_market))
            rows = self.placed(rows) if with_market else rows
            mean = self.estimate(rows, profile, prices, with_market)[0].mean
            parts[name] = mean - before
            before = mean
        return parts


def _known(
    population: Population, alignment: Alignment, context: Context, anchor: NDArray[np.float64]
) -> Known:
    """What a context tells of listings before they sell, relative to their anchors, (n,)."""
    blocks = traits(context, population.vocabulary, population.effects)
    return _told(population, alignment, context, anchor, blocks)


def _told(
    population: Population,
    alignment: Alignment,
    context: Context,
    anchor: NDArray[np.float64],
    blocks: dict[str, torch.Tensor],
) -> Known:
    """As `_known`, with given blocks of traits.

    Where sales in a category contradict its guesses, worth is doubted by more than the guess's
    own error (`Alignment`).
    """
    doubt = alignment.of(context.category)
    variance = context.guess_sd**2
    own = float(population.worth_sd / population.guess_error)  # in what guesses are said to err
    variance = variance + (doubt - 1.0) * (variance + own**2)
    return Known(as_tensor(context.guess - anchor), as_tensor(np.sqrt(variance)), blocks)
