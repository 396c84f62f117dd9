"""A contextual bandit for any set of arms: one linear head an arm, optimism in units of noise."""

import math

import torch

from bandits.linucb import LinearUCB


class Disjoint:
    r"""Disjoint linear UCB that measures the noise by which it scales its optimism.

    Formula: σ̂² = (1 + Σ (r − estimate)²) / (1 + n), of estimates made before each reward was seen;
    the arm chosen is the one with the highest estimate + optimism · σ̂ · width. So the settings
    need no tuning to the scale of the rewards once they are of order 1; rows should be of order 1
    too, with a constant among the features.

    Args:
        head: one group an arm; it may be swapped for another that was folded anew.
        optimism: in standard deviations of the estimate.

    References:
        Li, Chu, Langford & Schapire 2010, "A contextual-bandit approach to personalized news
        article recommendation", algorithm 1.
    """

    def __init__(self, head: LinearUCB, optimism: float = 1.0) -> None:
        self.head, self.optimism = head, optimism
        self._squares, self._rewards = 1.0, 1

    @property
    def noise(self) -> float:
        """σ̂, in the unit of the rewards."""
        return math.sqrt(self._squares / self._rewards)

    def choose(self, x: torch.Tensor) -> torch.Tensor:
        """Arms for features (n, d), int64 (n,)."""
        return self.head.choose(x, self.optimism * self.noise)

    def learn(self, x: torch.Tensor, arm: torch.Tensor, reward: torch.Tensor) -> None:
        """Add the rewards (n,) of the arms (n,) chosen for features (n, d); no others exist."""
        expected = self.head.score(x).mean.gather(1, arm[:, None])[:, 0]
        self._squares += float((reward - expected).square().sum())
        self._rewards += len(reward)
        self.head.update(x, reward, group=arm)
