"""Seasons played against a belief: what learners of later gains practise on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from bandits.continuation.states import SMOOTHING, Belief, States

Choose = Callable[[States], torch.Tensor]
"""From states, the arms to charge, int64 (n,)."""


@dataclass(frozen=True, slots=True, eq=False)
class Transitions:
    """Decisions and what came of them, m rows.

    Attributes:
        state: as decided. arm: charged, int64 (m,).
        gathered: gain of the days after the decision's own, up to `after`, currency units, (m,).
        after: the state n days later; where the season was over, a stand-in that does not count.
        goes_on: whether the season goes on at `after`, bool (m,).
    """

    state: States
    arm: torch.Tensor
    gathered: torch.Tensor
    after: States
    goes_on: torch.Tensor

    @classmethod
    def of(
        cls, states: list[States], arms: torch.Tensor, gains: torch.Tensor, steps: int
    ) -> Transitions:
        """From a season or a log, `steps` days each: n-step returns without the first day's gain.

        The demand model knows what today brings, so that gains count from tomorrow on: Sutton and
        Barto, "Reinforcement Learning", 2018, equation 7.1, less its first term. Decisions with
        nothing left for later are left out.

        Args:
            states: one for each day, of the same n listings. arms: int64 (days, n).
            gains: currency units, (days, n). steps: at least 1.
        """
        days, n = gains.shape
        total = torch.cat([torch.zeros_like(gains[:1]), gains.cumsum(0)])  # (days + 1, n)
        at = torch.arange(days - 1, device=gains.device).repeat_interleave(n)
        to = (at + steps).clamp_max(days)
        row = torch.arange(n, device=gains.device).repeat(days - 1)
        all_states = States.cat(states)
        place, end = at * n + row, to.clamp_max(days - 1) * n + row
        kept = all_states.later[place]
        at, to, row, place, end = (column[kept] for column in (at, to, row, place, end))
        # on the last day there is no later, but there is a now
        goes_on = (to < days) & (all_states.now[end].amax(1) > 0)
        gathered = total[to, row] - total[at + 1, row]
        arm = arms[at, row]
        return cls(all_states.take(place), arm, gathered, all_states.take(end), goes_on)


def play(belief: Belief, choose: Choose, stream: torch.Generator, steps: int) -> Transitions:
    """Sell a season whose demand is one of the believed hypotheses, drawn for each listing.

    Units are Poisson and sold as far as the stock goes; after each day the hypotheses' weights
    follow Bayes' rule, so that what learners practise on becomes better known as they go.

    Args:
        belief: on the first day, the same number of days for all.
        stream: on the belief's device.
    """
    rows = torch.arange(len(belief.stock), device=belief.stock.device)
    truth = torch.multinomial(belief.weights, 1, generator=stream)[:, 0]
    log_weight = torch.log(belief.weights.clamp_min(1e-30))
    states, arms, gains = [], [], []
    for _ in range(int(belief.days[0])):
        state = belief.states()
        arm = choose(state)
        rate = (belief.rates * belief.felt()[:, None])[rows, :, arm]  # (n, h)
        demanded = torch.poisson(rate[rows, truth], generator=stream)
        sold = torch.minimum(demanded, belief.stock)
        price = belief.prices[rows, arm]
        states.append(state)
        arms.append(arm)
        gains.append(price * sold)
        # of what is sold out only a bound is known, but then nothing is left to decide either
        log_weight = log_weight + sold[:, None] * torch.log(rate.clamp_min(1e-12)) - rate
        remembered = belief.remembered
        if remembered is not None:
            remembered = SMOOTHING * remembered + (1.0 - SMOOTHING) * price
        belief = replace(
            belief,
            weights=torch.softmax(log_weight, dim=1),
            days=belief.days - 1,
            stock=belief.stock - sold,
            remembered=remembered,
        )
    return Transitions.of(states, torch.stack(arms), torch.stack(gains), steps)
