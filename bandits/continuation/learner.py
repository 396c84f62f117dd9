"""What learners of later gains have in common, and how they practise."""

from __future__ import annotations

from typing import Protocol

import torch

from bandits.continuation.season import Transitions, play
from bandits.continuation.states import Belief, States


class Learner(Protocol):
    """Learns, from transitions, what each arm leaves for later."""

    stream: torch.Generator
    steps: int

    def scores(self, states: States) -> torch.Tensor:
        """Expected gain from today on at each arm, over `States.scale`, float32 (n, k); minus
        infinity where an arm is not allowed. A choice rule may be applied to it."""

    def act(self, states: States) -> torch.Tensor:
        """Arms to practise with, some of them to explore, int64 (n,)."""

    def add(self, transitions: Transitions) -> None:
        """Remember transitions, of practice or of a log."""

    def improve(self, rounds: int) -> float:
        """Take gradient steps on what is remembered; the mean loss of them."""


def practise(learner: Learner, belief: Belief, seasons: int, rounds: int, batch: int = 256) -> None:
    """Play seasons of believed demand, and learn after each; where nothing is left for later, on
    the last day or without stock, there is nothing to learn.

    Args:
        belief: of the first day; each season draws `batch` of its listings, of those that have a
            later, with repeats.
        seasons: how many. rounds: gradient steps after each.
    """
    belief = belief.take(torch.nonzero((belief.days > 1) & (belief.stock > 0))[:, 0])
    n, stream = len(belief.stock), learner.stream
    if not n:
        return
    for _ in range(seasons):
        rows = torch.randint(n, (batch,), generator=stream, device=stream.device)
        learner.add(play(belief.take(rows), learner.act, stream, learner.steps))
        learner.improve(rounds)
