"""Deep Q for what is left for later: double, dueling, n-step, replayed by priority."""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bandits.continuation.networks import ArmNetwork, barred, move_towards, q_values
from bandits.continuation.replay import Replay
from bandits.continuation.season import Transitions
from bandits.continuation.states import States


@dataclass(frozen=True, slots=True)
class DeepQSettings:
    """Settings of `DeepQ`.

    Attributes:
        hidden: width of the network. steps: days of gains before bootstrapping. explore: share of
            practice decisions drawn evenly over the allowed arms, and as many moved one arm.
        batch: transitions in a gradient step. rate: of Adam. pull: share of the way that the target
            network goes after each step. capacity: transitions remembered.
        alpha, beta: of the priorities. conservative: weight of the conservative term; 0 when
            practising on models, above it when learning from logs.
    """

    hidden: int = 48
    steps: int = 3
    explore: float = 0.15
    batch: int = 256
    rate: float = 1e-3
    pull: float = 0.02
    capacity: int = 30_000
    alpha: float = 0.6
    beta: float = 0.5
    conservative: float = 0.0


class DeepQ:
    r"""Q(s, a) = gain expected today + what is left for later; the network learns the latter.

    Formula: with r(s, a) the demand model's gain of today, scale and plan those of `States`,

        Q(s, a) = r(s, a) + later(s) scale(s) (plan(s, a) + f(s, a)),
        y = Σ_{i=1}^{n-1} gain_{t+i} + Q'(s_{t+n}, argmax over allowed a of Q(s_{t+n}, a)),
        loss = w ((Q(s, a) - r(s, a) - y) / scale)² + c (log Σ exp Q(s, ·) - Q(s, a)) / scale,

    Q' with the target network's f. Where nothing is left for later the second term is zero and Q is
    the contextual bandit's score.

    References:
        Double: van Hasselt, Guez and Silver, AAAI 2016, equation 4. n-step and the whole: Hessel et
        al., "Rainbow", AAAI 2018, section "Multi-step learning". Dueling: `ArmNetwork`. Priorities:
        `Replay`. Conservative term: Kumar, Zhou, Tucker and Levine, "Conservative Q-learning for
        offline reinforcement learning", NeurIPS 2020, equation 4.

    Args:
        seed: everything random follows from it.
    """

    def __init__(
        self, settings: DeepQSettings | None = None, seed: int = 0, device: str = "cpu"
    ) -> None:
        self.settings = settings or DeepQSettings()
        s = self.settings
        self.steps, self.stream = s.steps, torch.Generator(device).manual_seed(seed)
        self.online = ArmNetwork(s.hidden, torch.Generator().manual_seed(seed)).to(device)
        self.target = copy.deepcopy(self.online).requires_grad_(False)
        self.replay = Replay(s.capacity, s.alpha, s.beta, self.stream)
        self._adam = torch.optim.Adam(self.online.parameters(), s.rate)

    def scores(self, states: States) -> torch.Tensor:
        """As `Learner.scores`, by the target network: an average of the online one."""
        with torch.no_grad():
            return barred(q_values(self.target, states), states)

    def act(self, states: States) -> torch.Tensor:
        """The best arms, some replaced by any allowed and some by a neighbour."""
        best = self.scores(states).argmax(1)
        n, k = states.now.shape
        u = torch.rand(n, generator=self.stream, device=best.device)
        any_allowed = torch.multinomial(states.allowed.float(), 1, generator=self.stream)[:, 0]
        moved = (best + torch.where(u < 1.5 * self.settings.explore, 1, -1)).clamp(0, k - 1)
        moved = torch.where(states.allowed.gather(1, moved[:, None])[:, 0], moved, best)
        arm = torch.where(u < 2.0 * self.settings.explore, moved, best)
        return torch.where(u < self.settings.explore, any_allowed, arm)

    def add(self, transitions: Transitions) -> None:
        """As `Learner.add`."""
        self.replay.add(transitions)

    def improve(self, rounds: int) -> float:
        """As `Learner.improve`."""
        total = 0.0
        for _ in range(rounds):
            sample = self.replay.draw(self.settings.batch)
            lived = sample.transitions
            q = q_values(self.online, lived.state)
            taken = q.gather(1, lived.arm[:, None])[:, 0]
            error = taken - self.targets(lived)
            # squares, not absolute values: of skewed gains the mean is wanted, not the median
            loss = (sample.weight * error**2).mean()
            if self.settings.conservative:
                soft = torch.logsumexp(barred(q, lived.state), dim=1)
                loss = loss + self.settings.conservative * (soft - taken).mean()
            self._adam.zero_grad()
            torch.autograd.backward(loss)
            self._adam.step()
            move_towards(self.target, self.online, self.settings.pull)
            self.replay.renew(sample.rows, error)
            total += loss.item()
        return total / max(rounds, 1)

    def targets(self, lived: Transitions) -> torch.Tensor:
        """What Q(s, a) over scale(s) is drawn towards, (m,): gain of today, and y, over scale."""
        with torch.no_grad():
            best = barred(q_values(self.online, lived.after), lived.after).argmax(1, keepdim=True)
            after = q_values(self.target, lived.after).gather(1, best)[:, 0] * lived.after.scale
            y = lived.gathered + torch.where(lived.goes_on, after, 0.0)
            today = lived.state.now.gather(1, lived.arm[:, None])[:, 0]
            return (today + y) / lived.state.scale

    def save(self, path: Path) -> None:
        """Write settings and weights; what is remembered is not kept."""
        kept = {
            "settings": asdict(self.settings),
            "online": self.online.state_dict(),
            "target": self.target.state_dict(),
        }
        torch.save(kept, path)

    @classmethod
    def load(cls, path: Path, seed: int = 0, device: str = "cpu") -> DeepQ:
        """A learner with the scores of the one that was saved."""
        kept = torch.load(path, map_location=device, weights_only=True)
        learner = cls(DeepQSettings(**kept["settings"]), seed, device)
        learner.online.load_state_dict(kept["online"])
        learner.target.load_state_dict(kept["target"])
        return learner
