"""Sellers that plan for stock under uncertain demand: by hypotheses, deep Q, or an actor-critic."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from scipy.special import gammaincinv, ndtri
from scipy.stats import qmc

from bandits.continuation import ActorCritic, Belief, DeepQ, Learner, practise
from bandits.stock import stock_scores
from evaluation.sellers.attributes import attributes
from evaluation.sellers.fitted_programme import Demand
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, counted_cost, rungs
from evaluation.sellers.tally import Tally
from evaluation.sellers.traffic import Traffic
from markets import Knowledge

_FEW = 1e-3  # a share of the draws that quantiles are kept away from the ends


class Believed:
    """What is believed of rates a day: the mixed model's curves and a Gamma of each's traffic.

    Attributes:
        components: of the texts.
    """

    components = 16

    def __init__(self, knowledge: Knowledge) -> None:
        self.tally, self.traffic = Tally(knowledge), Traffic(len(knowledge.guess))
        self.demand = Demand(attributes(knowledge, self.components), self.tally)

    def rates(self, rows: Ints, count: int) -> Floats:
        """Units a day at each rung under equally likely hypotheses, (m, count, k).

        The same well-spread points (Halton's) stand for every listing's level, steepness and
        traffic, so that nothing but what is believed differs between listings and days.
        """
        points = qmc.Halton(3, scramble=False).random(count + 1)[1:]
        points = np.clip(points, _FEW, 1.0 - _FEW)
        demand = self.demand.plausible(rows, ndtri(points[:, :2]))
        shape, rate = self.traffic.belief(rows)
        traffic = gammaincinv(shape[:, None], points[:, 2]) / rate[:, None]  # (m, count)
        rates: Floats = demand * traffic[:, :, None]
        return rates

    def learn(self, sales: Sales) -> None:
        """Count, then fit."""
        self.tally.add(sales)
        self.traffic.add(sales)
        self.demand.fit()


class BayesProgramme:
    """Each rung's mean gain over plausible demands, each followed by its own exact programme.

    As `fitted-programme`, but demand is not taken to be what is estimated: a unit is kept for the
    demand that may come. `bandits.stock.stock_scores` has formula and papers. Without stock the
    rung that earns most at the mean demand.

    Attributes:
        hypotheses: of each listing.
    """

    hypotheses = 16

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._believed = knowledge, Believed(knowledge)
        self._cost = counted_cost(knowledge)

    def price(self, today: Today) -> Floats:
        """The rungs with the highest scores."""
        rates = self._believed.rates(today.rows, self.hypotheses)
        prices = self._knowledge.ladders[today.rows]
        if today.stock is None:
            scores = (prices - self._cost[today.rows, None]) * rates.mean(axis=1)
        else:
            days = np.full(today.rows.size, max(today.days_left, 1))
            scores = stock_scores(prices, rates, days, today.stock)
        return rungs(self._knowledge, today.rows, scores.argmax(axis=1))

    def learn(self, sales: Sales) -> None:
        """Count, then fit."""
        self._believed.learn(sales)


class Learned(ABC):
    """A seller that practises on seasons of believed demand before its first day with stock.

    What is left for later is learned by a `bandits.continuation.Learner`, from seasons whose demand
    is drawn from what sales of the known listings say of the new ones. Without stock nothing is
    left for later, and the rung that earns most at the mean demand is charged.

    Attributes:
        practised, priced: hypotheses of each listing, in practice and when a price is set.
        seasons, rounds: of practice, and gradient steps after each.
    """

    practised, priced = 24, 16
    seasons, rounds = 24, 60

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._believed = knowledge, Believed(knowledge)
        self._cost, self._learner = counted_cost(knowledge), self._make(seed)
        self._ready = False

    @abstractmethod
    def _make(self, seed: int) -> Learner:
        """The learner that practises."""

    def price(self, today: Today) -> Floats:
        """The rungs with the highest scores, after practice if it is the first day with stock."""
        rows, prices = today.rows, self._knowledge.ladders[today.rows]
        if today.stock is None or not (today.stock > 0).any():
            rates = self._believed.rates(rows, self.priced)
            margin = prices - (self._cost[rows, None] if today.stock is None else 0.0)
            return rungs(self._knowledge, rows, (margin * rates.mean(axis=1)).argmax(axis=1))
        if not self._ready:
            on_sale = np.flatnonzero(today.stock > 0)
            belief = self._belief(today, self.practised).take(torch.as_tensor(on_sale))
            practise(self._learner, belief, self.seasons, self.rounds)
            self._ready = True
        scores = self._learner.scores(self._belief(today, self.priced).states())
        return rungs(self._knowledge, rows, scores.argmax(dim=1).numpy())

    def learn(self, sales: Sales) -> None:
        """Count, then fit."""
        self._believed.learn(sales)

    def _belief(self, today: Today, count: int) -> Belief:
        rates = self._believed.rates(today.rows, count)
        n, _, k = rates.shape
        assert today.stock is not None
        return Belief(
            prices=torch.as_tensor(self._knowledge.ladders[today.rows], dtype=torch.float32),
            rates=torch.as_tensor(rates, dtype=torch.float32),
            weights=torch.full((n, count), 1.0 / count),
            days=torch.full((n,), float(max(today.days_left, 1))),
            stock=torch.as_tensor(today.stock, dtype=torch.float32),
            allowed=torch.ones((n, k), dtype=torch.bool),
        )


class DeepQSeller(Learned):
    """Deep Q for what is left for later: `bandits.continuation.DeepQ`."""

    def _make(self, seed: int) -> Learner:
        return DeepQ(seed=seed)


class ActorCriticSeller(Learned):
    """A soft actor-critic for what is left for later: `bandits.continuation.ActorCritic`."""

    def _make(self, seed: int) -> Learner:
        return ActorCritic(seed=seed)
