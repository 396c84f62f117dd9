"""The pricing policy: gains from estimated demand, and a price drawn with its propensity."""

import numpy as np
import torch
from numpy.typing import NDArray

from bandits import choice
from bandits.curves import BLOCK
from bandits.demand import Demand
from bandits.evidence import Posterior
from bandits.foresight import CANDIDATES, LOOK_DAYS, worth_of_learning
from bandits.ladders import Ladders, geometric_ladders, with_arm_below
from bandits.limits import GUARDRAILS
from bandits.plans import planned
from bandits.profile import Profile
from bandits.records import Decisions, Estimates, Listings, Rules
from bandits.trunk import Trunk

_LIKELY = 1.64  # deviations up to which demand may be when a stock is asked whether it will do
_ABOVE_COST = 0.35  # a ladder's least reach above the cost, log units
_SCARCE = 0.4  # a ladder's reach above the price at which a stock lasts to the end, log units
_BLIND = 1.0  # log error of a guess that says next to nothing
_STRIDE = 1.6  # log units above what was paid, to which such a listing's prices may go
_PROMISING = 0.8  # deviations of demand up to which an arm may turn out the best


class Policy(Demand):
    """A demand model, and the prices it leads to.

    Optimism is taken on demand, and only then is the margin multiplied in.

    Args: as `Demand`.
    """

    def __init__(
        self,
        rules: Rules | None = None,
        device: torch.device | str = "cpu",
        trunk: Trunk | None = None,
    ) -> None:
        self.rules = rules or Rules()
        super().__init__(self.rules.ridge, self.rules.half_life_days, device, trunk)

    def ladders(self, listings: Listings, profile: Profile) -> Ladders:
        """Arms over the prices that may be the best: wide where little is known, then narrower.

        They are the prices at which demand would have to lie no more than `ladder_sds` standard
        deviations high to beat the best estimate.
        """
        grid = profile.grid.double().cpu().numpy()
        mean, sd = (t.double().cpu().numpy() for t in profile.moments())
        on_grid = Estimates(mean, sd, sd, np.zeros_like(sd))
        prices = np.exp(listings.anchor[:, None] + grid)
        gain = listings.gain(prices)
        likely = on_grid.quantile(self.rules.ladder_sds)
        able = _may_be_best(gain, mean, likely)
        # with a cost above all prices of the grid nothing there is able
        able[:, -1] |= ~able.any(1)
        low = grid[able.argmax(1)] + listings.anchor - self.rules.ladder_margin
        last = able.shape[1] - 1 - able[:, ::-1].argmax(1)
        high = grid[last] + listings.anchor + self.rules.ladder_margin
        high = np.fmin(high, self._reach(listings))
        if listings.stock is not None:
            # what is left over is worth nothing: down to the prices that may take in the most
            ending = np.flatnonzero(listings.stock.ending())
            if ending.size:
                taken = listings.gain(prices, spent=True)[ending]
                cheap = _may_be_best(taken, mean[ending], likely[ending]).argmax(1)
                down = grid[cheap] + listings.anchor[ending] - self.rules.ladder_margin
                low[ending] = np.fmin(low[ending], down)
            # scarce units are dear: up to the price at which they last to the end, and more
            lasting = grid[listings.stock.lasting(mean)] + listings.anchor
            # nor much below the lowest at which they may, should few be as keen as is believed
            shy = grid[listings.stock.lasting(on_grid.quantile(-_LIKELY))] + listings.anchor
            low = np.fmax(low, shy - _SCARCE)
            high = np.fmax(high, lasting + _SCARCE)
        # the cost is a limit, and as a limit it lifts the lower end; with a cost above the
        # believed range the best price is still some way over it
        known = listings.context.unit_cost > 0
        cost = np.log(np.where(known, listings.context.unit_cost, np.nan))
        high = np.fmax(high, np.fmax(low, cost) + _ABOVE_COST)
        scale = np.log(listings.per_major)
        low, high = np.exp(low + scale), np.exp(high + scale)
        rival = listings.context.competitor_price * listings.per_major
        if (listings.leader != np.arange(len(low))).any():
            np.minimum.at(low, listings.leader, low.copy())
            np.maximum.at(high, listings.leader, high.copy())
            np.fmin.at(rival, listings.leader, rival.copy())  # of several, the lowest
            low, high, rival = (ends[listings.leader] for ends in (low, high, rival))
        made = geometric_ladders(low, high, listings.limits, self.rules.arms)
        # buyers who compare go elsewhere above the competitor's price, not a little below it
        return with_arm_below(made, listings.limits, rival)

    def _reach(self, listings: Listings) -> NDArray[np.float64]:
        """Highest log price that a listing of which next to nothing is known may be tried at, by
        what was paid for it; infinite for others, (n,).

        A handful of sales at a low price promise most where nobody has bought yet, of a whole shop
        at once: it goes there in steps.
        """
        units, _, revenue, _ = self.evidence.totals_of(listings.listing).numpy().T
        bold = (listings.context.guess_sd > _BLIND) & (units > 0) & (revenue > 0)
        paid = np.divide(revenue, units, out=np.ones(len(units)), where=bold)
        return np.where(bold, np.log(paid) + _STRIDE, np.inf)

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
        profile = self.profile(belief)
        usual, listings = listings, self.placed(listings)
        ladders = self.ladders(listings, profile)
        prices = ladders.prices / listings.per_major[:, None]
        estimates, x = self.estimate(listings, profile, prices)
        gain = listings.gain(prices)
        expected = gain * estimates.mean
        scores = gain * estimates.tilted(self.rules.optimism) if explore else expected
        if explore and listings.impressions is not None and self.rules.foresight_days:
            scores += self._learning(listings, belief, prices, estimates, gain, ladders.allowed)
        planned = np.empty(0, np.int64)
        if listings.stock is not None:
            planned = self._plan(listings, belief, profile, prices, estimates, (scores, expected))
        leader = listings.leader
        guardrails = ladders.guardrails
        shared, shared_expected, weight = scores, expected, np.ones(len(leader))
        if (leader != np.arange(len(leader))).any():
            size, weight = _members(listings)
            shared, shared_expected = (_summed(t, leader, weight) for t in (scores, expected))
            guardrails = guardrails.copy()
            guardrails[:, GUARDRAILS.index("family")] |= size > 1
        propensities = self._propensities(shared, ladders.allowed, explore)
        if explore and self.rules.rule == "thompson":
            # which arm is the best today says nothing of a stock that has to last
            today = ~np.isin(leader, leader[planned])
            corrected = gain * (estimates.mean / x[..., 0].double().cpu().numpy())
            drawn = self._thompson(listings, belief, ladders, corrected, expected, weight)
            propensities[today] = drawn[today]
        if explore and self.rules.budget < 1:
            propensities = choice.within_budget(
                propensities, shared_expected, ladders.allowed, self.rules.budget
            )
        arm = choice.draw(propensities, choice.uniforms(ids)[leader])
        rows = np.arange(len(arm))
        low, high = self.interval(listings, belief, prices[rows, arm], estimates.take(arm))
        chosen = x[torch.as_tensor(rows), torch.as_tensor(arm)]  # (n, DIM)
        return Decisions(
            Ladders(ladders.prices, ladders.allowed, guardrails),
            estimates,
            expected,
            scores,
            propensities,
            arm,
            low,
            high,
            chosen.cpu().numpy(),
            weight,
            self.passing(chosen),
            listings.anchor - usual.anchor,
            *self.of_day(usual, profile, prices[rows, arm], chosen[:, 0].double().cpu().numpy()),
        )

    def _propensities(
        self, scores: NDArray[np.float64], allowed: NDArray[np.bool_], explore: bool
    ) -> NDArray[np.float64]:
        rules = self.rules
        if not explore:
            return choice.best_arm(scores, allowed)
        if rules.rule == "inverse_gap":
            return choice.inverse_gap(scores, allowed, gamma=rules.gamma, floor=rules.floor)
        return choice.softmax(scores, allowed, temperature=rules.temperature, floor=rules.floor)

    def _learning(
        self,
        listings: Listings,
        belief: Posterior,
        prices: NDArray[np.float64],
        estimates: Estimates,
        gain: NDArray[np.float64],
        allowed: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """What learning by each arm is worth in the days ahead, per impression of today, (n, k)."""
        assert listings.impressions is not None
        worth = np.zeros_like(gain)
        # before a first day how many will look is not known, and a day's wait will tell
        rows = np.flatnonzero(listings.impressions > 0)
        if not rows.size:
            return worth
        allowed_gain = np.where(allowed, gain, -np.inf)[rows]
        promise = allowed_gain * estimates.quantile(_PROMISING)[rows]
        count = min(CANDIDATES, promise.shape[1])
        worth[rows] = worth_of_learning(
            self.evidence.bank,
            belief.take(torch.as_tensor(rows)),
            np.log(prices[rows]) - listings.anchor[rows, None],
            estimates.mean[rows],
            allowed_gain,
            np.argpartition(-promise, count - 1, axis=1)[:, :count],
            listings.impressions[rows],
            self.device,
            self.population.chance,
        )
        return worth * (self.rules.foresight_days / LOOK_DAYS)

    def _plan(
        self,
        listings: Listings,
        belief: Posterior,
        profile: Profile,
        prices: NDArray[np.float64],
        estimates: Estimates,
        scores: tuple[NDArray[np.float64], ...],
    ) -> NDArray[np.int64]:
        """Put gains to the last day in `scores` of rows, (r,), whose stock may run out, or is
        worth nothing after a day that was told: of ample stock that is what a price takes in.
        """
        assert listings.stock is not None
        rows = listings.stock.binding(estimates.quantile(_LIKELY).max(1))
        ample = np.setdiff1d(np.flatnonzero(listings.stock.ending()), rows)
        planned_for = np.union1d(rows, ample)
        if not planned_for.size:
            return planned_for
        spent = listings.gain(prices, spent=True)
        for table in scores:
            table[ample] = spent[ample] * estimates.mean[ample]
        if not rows.size:
            return planned_for
        at = torch.as_tensor(rows)
        log_price = np.log(prices[rows]) - listings.anchor[rows, None]
        own, _ = profile.take(at).at(torch.as_tensor(log_price).float().to(self.device))
        worth = planned(
            self.evidence.bank,
            belief.take(at),
            log_price,
            estimates.mean[rows] / own.double().cpu().numpy(),
            spent[rows],
            listings.stock.take(rows),
        )
        for table in scores:
            table[rows] = worth
        return planned_for

    def _thompson(
        self,
        listings: Listings,
        belief: Posterior,
        ladders: Ladders,
        gain: NDArray[np.float64],
        expected: NDArray[np.float64],
        counts: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Probability that each arm is the best, (n, k); in a family its members' mean by gain.

        Args:
            gain: of a unit, times the correction of the own curve that hypotheses are about, which
                is the same under all of them, (n, k). expected: gain of an impression, (n, k).
            counts: what rows count in their families, (n,).
        """
        bank, leader = self.evidence.bank, listings.leader
        prices = np.log(ladders.prices / listings.per_major[:, None]) - listings.anchor[:, None]
        relative, weight = torch.as_tensor(prices).float(), belief.weight.float().flatten(1)
        best = np.concatenate(
            [
                choice.best_shares(
                    torch.as_tensor(gain[part]).float()[:, :, None]
                    * bank.demand(relative[part]).flatten(2),
                    weight[part],
                    torch.as_tensor(ladders.allowed[part]),
                )
                for part in (slice(i, i + BLOCK) for i in range(0, len(gain), BLOCK))
            ]
            or [np.empty(gain.shape)]
        )
        if (leader != np.arange(len(leader))).any():
            best *= np.maximum(expected.max(1, keepdims=True), 1e-12)
            best = _summed(best, leader, counts)
            best /= best.sum(1, keepdims=True)
        return choice.with_floor(best, ladders.allowed, self.rules.floor)


def _may_be_best(
    gain: NDArray[np.float64], mean: NDArray[np.float64], likely: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Prices that beat the best estimate where demand is as high as is likely, bool (n, g)."""
    return np.asarray(gain * likely >= (gain * mean).max(1, keepdims=True))


def _members(listings: Listings) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """How many listings decide with each row, however often they are asked about, and what the row
    counts in their sum, (n,) each: impressions a day over those of the family's mean member, whose
    they are where they are not known, over how often the row's listing is asked about.
    Where nobody looks at the family, its members count alike.
    """
    leader = listings.leader
    n = len(leader)
    alone = np.where(listings.listing >= 0, listings.listing, -1 - np.arange(n))
    member, place, times = np.unique(
        np.stack([leader, alone]), axis=1, return_inverse=True, return_counts=True
    )
    size = np.bincount(member[0], minlength=n)[leader]
    once = 1.0 / times[place.ravel()]
    looks = np.full(n, np.nan) if listings.impressions is None else listings.impressions
    known = ~np.isnan(looks)
    total = np.bincount(leader, np.where(known, looks * once, 0.0), minlength=n)
    count = np.bincount(leader, known * once, minlength=n)
    mean = (total / np.maximum(count, 1e-12))[leader]
    share = np.ones(n)
    np.divide(looks, mean, out=share, where=known & (mean > 0))
    return np.asarray(size, np.int64), share * once


def _summed(
    scores: NDArray[np.float64], leader: NDArray[np.int64], weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weighed sum over the rows of each family, in each of its rows, (n, k)."""
    total = np.zeros_like(scores)
    np.add.at(total, leader, scores * weight[:, None])
    return np.asarray(total[leader])
