"""The network that both learners use: one number for each arm, whatever the arms are."""

from __future__ import annotations

import torch
from torch import nn

from bandits.continuation.states import FEATURES, States


class ArmNetwork(nn.Module):
    r"""A dueling network over arms that share their weights.

    out(s, a) = V(s) + A(s, a) - mean over allowed a' of A(s, a'): Wang et al., "Dueling network
    architectures for deep reinforcement learning", ICML 2016, equation 9. V reads the mean of the
    allowed arms' hidden layers, so that a ladder may have any number of rungs. The last layers
    begin at zero, and with them every output.

    Args:
        hidden: width of both hidden layers.
        stream: where the first weights come from.
    """

    def __init__(self, hidden: int, stream: torch.Generator) -> None:
        super().__init__()
        self.first = nn.Linear(len(FEATURES), hidden)
        self.second = nn.Linear(2 * hidden, hidden)
        self.value, self.advantage = nn.Linear(hidden, 1), nn.Linear(hidden, 1)
        with torch.no_grad():
            for layer in (self.first, self.second):
                bound = layer.in_features**-0.5
                layer.weight.copy_(
                    (torch.rand(layer.weight.shape, generator=stream) * 2 - 1) * bound
                )
                layer.bias.zero_()
            for layer in (self.value, self.advantage):
                layer.weight.zero_()
                layer.bias.zero_()

    def forward(self, states: States) -> torch.Tensor:
        """float32 (n, k); the entries of arms that are not allowed mean nothing."""
        share = states.allowed.float()
        share = (share / share.sum(1, keepdim=True))[:, :, None]  # (n, k, 1)
        arm = torch.relu(self.first(states.features))  # (n, k, hidden)
        common = (arm * share).sum(1, keepdim=True).expand_as(arm)
        both = torch.relu(self.second(torch.cat([arm, common], dim=2)))
        advantage = self.advantage(both)
        value = self.value((both * share).sum(1, keepdim=True))
        dueled: torch.Tensor = (value + advantage - (advantage * share).sum(1, keepdim=True))[
            ..., 0
        ]
        return dueled


def move_towards(target: nn.Module, online: nn.Module, share: float) -> None:
    """Move a target network's weights a share of the way to the online network's."""
    with torch.no_grad():
        for old, new in zip(target.parameters(), online.parameters(), strict=True):
            old.lerp_(new, share)


def barred(scores: torch.Tensor, states: States) -> torch.Tensor:
    """Scores (n, k), minus infinity where an arm is not allowed."""
    return scores.masked_fill(~states.allowed, -torch.inf)


def q_values(network: ArmNetwork, states: States) -> torch.Tensor:
    """Gain of today and, by the network, of later, over `States.scale`, (n, k)."""
    later = states.features[..., FEATURES.index("plan")] + network(states)
    q: torch.Tensor = states.now / states.scale[:, None] + states.later[:, None] * later
    return q
