"""What goes into the policy and what comes out, as columns with one row per listing."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bandits.features import Context
from bandits.ladders import Ladders
from bandits.limits import Limits
from bandits.objectives import Objective
from bandits.plans import Stock

WIDEST = 3.3  # deviations of log demand; the mean of a wider one lies above its own upper end


@dataclass(frozen=True, slots=True)
class Rules:
    """Choices of the policy that a seller may set.

    Attributes:
        arms: prices on a ladder.
        optimism: an arm is scored by demand so many standard deviations of its log above what is
            expected; below zero the policy is averse to risk.
        foresight_days: days of later sales that a price is chosen to learn for; 0: none.
        rule: how a price is drawn: "softmax" and "inverse_gap" from those scores, "thompson" by
            the probability that an arm is the best.
        temperature: relative shortfall at which an arm is e times less likely (softmax).
        gamma: weight of the relative shortfall (inverse_gap); larger explores less.
        floor: share of the draws spread evenly over the ladder.
        budget: largest share of a price's expected gain that exploring may cost, 1 for no bound.
            Holding for every price, it holds for every day's total.
        ladder_sds: a ladder holds the prices that so much optimism could make the best.
        ladder_margin: half width added to that, log units.
        ridge: strength of the head's prior, in units sold.
        half_life_days: days after which an outcome counts half; None keeps all.
    """

    arms: int = 20
    optimism: float = 0.0
    foresight_days: float = 10.0
    rule: Literal["softmax", "inverse_gap", "thompson"] = "softmax"
    temperature: float = 0.003
    gamma: float = 100.0
    floor: float = 0.002
    budget: float = 0.05
    ladder_sds: float = 2.0
    ladder_margin: float = 0.1
    ridge: float = 300.0
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
        objective: what a sale is worth; None for profit, and revenue where no cost is known.
        stock: units and days left, None where nothing ends.
        impressions: of a day as far as they are known, NaN where not, (n,); None: nowhere.
        single: an impression sells one unit at most, bool (n,); None: nowhere.
    """

    listing: NDArray[np.int64]
    anchor: NDArray[np.float64]
    per_major: NDArray[np.int64]
    limits: Limits
    leader: NDArray[np.int64]
    context: Context
    objective: Objective | None = None
    stock: Stock | None = None
    impressions: NDArray[np.float64] | None = None
    single: NDArray[np.bool_] | None = None

    def most(self) -> NDArray[np.float64]:
        """Units that an impression sells at most, (n,); infinite where nobody said."""
        one = np.zeros(len(self.listing), np.bool_) if self.single is None else self.single
        return np.where(one, 1.0, np.inf)

    def gain(self, prices: NDArray[np.float64], spent: bool = False) -> NDArray[np.float64]:
        """What a unit sold at `prices`, currency units (n, k), is worth, (n, k).

        Args:
            spent: units are in stock and will not come again, so that their cost is no matter.
        """
        cost = np.nan_to_num(self.context.unit_cost)[:, None] * (not spent)
        if self.objective is None:
            return np.asarray(prices - cost)
        return self.objective.gain(prices, cost)


@dataclass(frozen=True, slots=True)
class Estimates:
    """Demand at each arm, units per impression, float64 (n, k).

    Attributes:
        mean: the estimate. sd: its standard deviation, of own curve and corrections together.
        curve_sd: standard deviation of the own curve alone, before corrections.
        width: of the corrections alone.
    """

    mean: NDArray[np.float64]
    sd: NDArray[np.float64]
    curve_sd: NDArray[np.float64]
    width: NDArray[np.float64]

    def _log_normal(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of the log of a log-normal variable with these moments."""
        mean = np.maximum(self.mean, 1e-300)
        spread = np.minimum(np.sqrt(np.log1p((self.sd / mean) ** 2)), WIDEST)
        return np.log(mean) - spread**2 / 2, spread

    def quantile(self, sds: float) -> NDArray[np.float64]:
        """Demand so many standard deviations of its log above the median, (n, k).

        Of two arms with the same mean and deviation, a mean plus deviations prefers the one whose
        deviation comes from a small chance of much; a quantile does not.
        """
        middle, spread = self._log_normal()
        return np.asarray(np.exp(middle + sds * spread))

    def tilted(self, sds: float) -> NDArray[np.float64]:
        """The mean, moved by so many standard deviations of the log of demand, (n, k)."""
        if not sds:
            return self.mean
        return np.asarray(self.mean * np.exp(sds * self._log_normal()[1]))

    def take(self, arm: NDArray[np.int64]) -> "Estimates":
        """Those of one arm of each row, (n,) each."""
        rows = np.arange(len(arm))
        return Estimates(*(getattr(self, name)[rows, arm] for name in Estimates.__slots__))


@dataclass(frozen=True, slots=True)
class Decisions:
    """Prices drawn, one row per request.

    Attributes:
        ladders: arms, those allowed, and the guardrails that changed them.
        estimates: demand at every arm.
        expected: gain per impression at every arm, currency units, (n, k): today's, and with a
            stock that may run out what is taken in to the last day over keeping the units.
        scores: by which an arm is drawn: with optimism, and with what it would teach, (n, k).
        propensities: probability of every arm, (n, k); rows sum to 1.
        arm: the arm drawn, int64 (n,).
        low, high: ends of the 90 % interval of demand at the drawn arm, units per impression, (n,).
        features: features of the drawn arm times the own curve's estimate, float32 (n, DIM).
        weight: what a row counted where its family chose by the sum of its members, (n,).
        passing: times the usual demand that is expected there by what passes, (n,).
        worth: log of what listings are expected to be worth on the day over the usual, (n,).
        day: times the usual demand that is expected of the day there, (n,). elasticity: of the own
            curve there on a usual day, (n,).
    """

    ladders: Ladders
    estimates: Estimates
    expected: NDArray[np.float64]
    scores: NDArray[np.float64]
    propensities: NDArray[np.float64]
    arm: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    features: NDArray[np.float32]
    weight: NDArray[np.float64]
    passing: NDArray[np.float64]
    worth: NDArray[np.float64]
    day: NDArray[np.float64]
    elasticity: NDArray[np.float64]

    @property
    def price(self) -> NDArray[np.int64]:
        """Price drawn, minor units, int64 (n,)."""
        return np.take_along_axis(self.ladders.prices, self.arm[:, None], 1)[:, 0]


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What came of decisions, one row per outcome.

    Attributes:
        listing: catalogue rows, int64 (m,). anchor: their log anchor prices, (m,).
        price: currency units, (m,). impressions, units (net of returns), profit: float64 (m,).
        curve_sd: the own curve's standard deviation as decided, units per impression, (m,).
        features: as decided, float32 (m, DIM). at: microseconds since 1970 UTC, int64 (m,).
        passing: times the usual demand that was expected by what passes, as decided, (m,).
        day_expected: times the usual demand that was expected of the day, as decided, (m,).
        day: what the day of the outcome was, times the usual demand (`bandits.days`), (m,), and
            worth: log of what listings were worth then over the usual (`bandits.shifts`), (m,).
        category: codes as decided, -1 without one, int64 (m,).
        elasticity: on a usual day, as decided, NaN where it is not known, (m,).
        worth_expected: what `worth` was expected to be, as decided, (m,).
        stock: units left when it was decided, NaN where there was no end, (m,). expected: units per
            impression at the price, as decided, (m,). returned: units that came back, (m,).
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
    passing: NDArray[np.float64]
    day_expected: NDArray[np.float64]
    day: NDArray[np.float64]
    category: NDArray[np.int64]
    elasticity: NDArray[np.float64]
    worth_expected: NDArray[np.float64]
    worth: NDArray[np.float64]
    stock: NDArray[np.float64]
    expected: NDArray[np.float64]
    returned: NDArray[np.float64]
