"""What was lived through, drawn again by how much there was to learn from it."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch

from bandits.continuation.season import Transitions
from bandits.continuation.states import States


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Transitions drawn. rows: where they lie in the replay, (m,). weight: of each in a loss, (m,),
    at most 1."""

    transitions: Transitions
    rows: torch.Tensor
    weight: torch.Tensor


class Replay:
    r"""A ring of transitions, drawn in proportion to the power of their last error.

    P(i) ∝ (|δ_i| + ε)^α, and a loss weighs w_i = (N P(i))^-β / max w: Schaul, Quan, Antonoglou and
    Silver, "Prioritized experience replay", ICLR 2016, equations 1 and section 3.4. What is new has
    the highest priority so far. Draws are stratified: one in each m-th of the total priority.

    Args:
        capacity: transitions kept, the latest.
        alpha: 0 draws evenly. beta: 1 corrects the bias of the draw in full.
    """

    _LEAST = 1e-3

    def __init__(self, capacity: int, alpha: float, beta: float, stream: torch.Generator) -> None:
        self.capacity, self.alpha, self.beta, self._stream = capacity, alpha, beta, stream
        self.size, self._next = 0, 0
        self._columns: list[torch.Tensor] = []
        self._powers = torch.zeros(capacity, dtype=torch.float64, device=stream.device)

    def add(self, new: Transitions) -> None:
        """Take in transitions; of more than fit, the last."""
        columns = [column[-self.capacity :] for column in _columns(new)]
        count = len(columns[0])
        if not count:
            return
        if not self._columns:
            self._columns = [c.new_zeros((self.capacity, *c.shape[1:])) for c in columns]
        place = (self._next + torch.arange(count, device=self._powers.device)) % self.capacity
        for kept, column in zip(self._columns, columns, strict=True):
            kept[place] = column
        highest = self._powers.max() if self.size else self._powers.new_ones(())
        self._powers[place] = highest
        self._next = (self._next + count) % self.capacity
        self.size = min(self.size + count, self.capacity)

    def draw(self, count: int) -> Sample:
        """Draw transitions, with repeats.

        Raises:
            ValueError: nothing was added.
        """
        if not self.size:
            raise ValueError("the replay is empty: add transitions before drawing any")
        powers = self._powers[: self.size]
        cumulative = powers.cumsum(0)
        u = torch.rand(count, dtype=torch.float64, generator=self._stream, device=powers.device)
        strata = (torch.arange(count, device=powers.device) + u) / count * cumulative[-1]
        rows = torch.searchsorted(cumulative, strata, right=True).clamp_max(self.size - 1)
        chance = powers / cumulative[-1]
        weight = (self.size * chance[rows]) ** -self.beta
        most = (self.size * chance.min()) ** -self.beta
        return Sample(
            _transitions([column[rows] for column in self._columns]),
            rows,
            (weight / most).float(),
        )

    def renew(self, rows: torch.Tensor, error: torch.Tensor) -> None:
        """Errors (m,) found when the rows were last learned from."""
        self._powers[rows] = (error.detach().abs().double() + self._LEAST) ** self.alpha


def _columns(of: Transitions) -> list[torch.Tensor]:
    states = [getattr(state, f.name) for state in (of.state, of.after) for f in fields(States)]
    return [*states, of.arm, of.gathered, of.goes_on]


def _transitions(columns: list[torch.Tensor]) -> Transitions:
    width = len(fields(States))
    state, after = States(*columns[:width]), States(*columns[width : 2 * width])
    arm, gathered, goes_on = columns[2 * width :]
    return Transitions(state, arm, gathered, after, goes_on)
