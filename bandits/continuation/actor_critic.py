"""A discrete soft actor-critic for what is left for later."""

from __future__ import annotations

import copy
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bandits.continuation.networks import ArmNetwork, barred, move_towards, q_values
from bandits.continuation.replay import Replay
from bandits.continuation.season import Transitions
from bandits.continuation.states import States


@dataclass(frozen=True, slots=True)
class ActorCriticSettings:
    """Settings of `ActorCritic`.

    Attributes:
        hidden, steps, batch, rate, pull, capacity: as `DeepQSettings`.
        sharpness: how much likelier than another an arm is at the start, e-fold, that earns more
            by the whole scale.
        entropy: aimed at, as a share of an even draw's.
    """

    hidden: int = 64
    steps: int = 3
    batch: int = 256
    rate: float = 1e-3
    pull: float = 0.02
    capacity: int = 30_000
    sharpness: float = 50.0
    entropy: float = 0.4


class ActorCritic:
    r"""A policy learned beside two critics, rewarded for staying undecided.

    Formula: with q_j(s, a) the critics over scale as in `DeepQ`, π the softmax of the actor, τ its
    temperature,

        v(s) = Σ_a π(a|s) (min_j q'_j(s, a) - τ log π(a|s)),
        critics: (q_j(s, a) - (gain of today + Σ gains + scale(s') v(s')) / scale(s))²,
        actor: Σ_a π(a|s) (τ log π(a|s) - min_j q_j(s, a)),
        temperature: log τ Σ_a π(a|s) (-log π(a|s) - H).

    References:
        Christodoulou, "Soft actor-critic for discrete action settings", arXiv:1910.07207,
        equations 10 to 12; Haarnoja et al., "Soft actor-critic", ICML 2018.

    Args:
        seed: everything random follows from it.
    """

    def __init__(
        self, settings: ActorCriticSettings | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.settings = settings or ActorCriticSettings()
        s = self.settings
        self.steps, self.stream = s.steps, torch.Generator(device).manual_seed(seed)
        first = torch.Generator().manual_seed(seed)
        self.actor, *critics = (ArmNetwork(s.hidden, first).to(device) for _ in range(3))
        self.critics = critics
        self.targets = [copy.deepcopy(critic).requires_grad_(False) for critic in critics]
        self.log_temperature = torch.tensor(math.log(1.0 / s.sharpness), device=device)
        self.log_temperature.requires_grad_(True)
        self.replay = Replay(s.capacity, 0.0, 0.0, self.stream)
        of_both = (weight for critic in critics for weight in critic.parameters())
        self._of_critics = torch.optim.Adam(of_both, s.rate)
        self._of_actor = torch.optim.Adam(self.actor.parameters(), s.rate)
        self._of_temperature = torch.optim.Adam([self.log_temperature], s.rate)

    def log_policy(self, states: States) -> torch.Tensor:
        """Log probability of each arm, (n, k), minus infinity where not allowed."""
        planned = states.now / states.scale[:, None] + states.features[..., 0]
        logits = self.settings.sharpness * (planned + self.actor(states))
        return torch.log_softmax(barred(logits, states), dim=1)

    def scores(self, states: States) -> torch.Tensor:
        """As `Learner.scores`, on the actor's scale: its log probabilities over `sharpness`."""
        with torch.no_grad():
            return self.log_policy(states) / self.settings.sharpness

    def act(self, states: States) -> torch.Tensor:
        """Arms drawn from the policy."""
        with torch.no_grad():
            policy = self.log_policy(states).exp()
        return torch.multinomial(policy, 1, generator=self.stream)[:, 0]

    def add(self, transitions: Transitions) -> None:
        """As `Learner.add`."""
        self.replay.add(transitions)

    def improve(self, rounds: int) -> float:
        """As `Learner.improve`; the loss is the critics'."""
        total = 0.0
        for _ in range(rounds):
            lived = self.replay.draw(self.settings.batch).transitions
            y, taken = self._target(lived), lived.arm[:, None]
            loss = torch.zeros(())
            for critic in self.critics:
                error = q_values(critic, lived.state).gather(1, taken)[:, 0] - y
                loss = loss + (error**2).mean()
            _step(self._of_critics, loss)
            self._improve_actor(lived.state)
            for target, critic in zip(self.targets, self.critics, strict=True):
                move_towards(target, critic, self.settings.pull)
            total += loss.item()
        return total / max(rounds, 1)

    def _improve_actor(self, states: States) -> None:
        temperature = self.log_temperature.exp().detach()
        with torch.no_grad():
            worth = torch.minimum(*(q_values(critic, states) for critic in self.critics))
        log_policy = self.log_policy(states)
        policy = log_policy.exp()
        log_policy = log_policy.masked_fill(~states.allowed, 0.0)
        _step(self._of_actor, (policy * (temperature * log_policy - worth)).sum(1).mean())
        entropy = -(policy * log_policy).sum(1).detach()
        aim = self.settings.entropy * torch.log(states.allowed.sum(1).float())
        _step(self._of_temperature, (self.log_temperature * (entropy - aim)).mean())

    def _target(self, lived: Transitions) -> torch.Tensor:
        """What the critics are drawn towards, over scale, (m,)."""
        with torch.no_grad():
            log_policy = self.log_policy(lived.after)
            policy = log_policy.exp()
            log_policy = log_policy.masked_fill(~lived.after.allowed, 0.0)
            worth = torch.minimum(*(q_values(target, lived.after) for target in self.targets))
            soft = (policy * (worth - self.log_temperature.exp() * log_policy)).sum(1)
            after = torch.where(lived.goes_on, soft * lived.after.scale, 0.0)
            today = lived.state.now.gather(1, lived.arm[:, None])[:, 0]
            return (today + lived.gathered + after) / lived.state.scale

    def save(self, path: Path) -> None:
        """Write settings, policy and critics."""
        kept = {
            "settings": asdict(self.settings),
            "actor": self.actor.state_dict(),
            "critics": [critic.state_dict() for critic in self.critics],
        }
        torch.save(kept, path)

    @classmethod
    def load(cls, path: Path, seed: int = 0, device: str = "cpu") -> ActorCritic:
        """A learner with the scores of the one that was saved."""
        kept = torch.load(path, map_location=device, weights_only=True)
        learner = cls(ActorCriticSettings(**kept["settings"]), seed, device)
        learner.actor.load_state_dict(kept["actor"])
        for networks in (learner.critics, learner.targets):
            for network, weights in zip(networks, kept["critics"], strict=True):
                network.load_state_dict(weights)
        return learner


def _step(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    torch.autograd.backward(loss)
    optimiser.step()
