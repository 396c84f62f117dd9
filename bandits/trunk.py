"""Features that a small neural network learns, for a linear head to be exact about."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from bandits.linucb import LinearUCB
from bandits.training import Rows, Tensors, TrunkSettings, Watch, hidden, trained

_REFOLD_ROWS = 1 << 16
"""Logged rows turned into features at a time when a head is folded anew."""

_LARGEST = 1e18  # of a number whose square a float32 holds, and the sums of many squares


class Trunk:
    r"""Maps a row x to [φ(x), x]: learned features and, unchanged, the raw ones.

    Formula: with standardised input x̃,

        φ(x) = c · tanh(W₃ gelu(W₂ gelu(W₁ x̃ + b₁) + b₂) + b₃).

    Training adds a linear readout of [φ, x̃], fitted to x̃ first, and throws it away. tanh keeps φ
    bounded away from the rows it was trained on; c makes φ as long as the raw row on average, so
    that the head's prior weighs both alike.

    A trunk never changes: training gives another, with another `version`, and the head's statistics
    have to be folded anew (`refold`). Statistics of one representation under another are what makes
    neural-linear bandits diverge.

    References:
        Riquelme, Tucker & Snoek 2018, "Deep Bayesian bandits showdown", section 4 (NeuralLinear).
    """

    def __init__(self, tensors: Tensors, settings: TrunkSettings) -> None:
        self._tensors, self.settings = tensors, settings
        self.dim_in = len(tensors["mean"])
        self.dim = settings.out + self.dim_in
        self.version = _digest(tensors, settings)

    @classmethod
    def fit(
        cls,
        x: torch.Tensor,
        y: torch.Tensor,
        weight: torch.Tensor | None = None,
        *,
        group: torch.Tensor | None = None,
        family: torch.Tensor | None = None,
        settings: TrunkSettings | None = None,
        seed: int = 0,
        watch: Watch | None = None,
    ) -> "Trunk":
        """Train on logged rows, on the device they are on; the seed decides everything drawn.

        Args:
            x: raw features (m, d). y: targets (m,), for "poisson" units per exposure.
            weight: (m,) ≥ 0, for "poisson" the exposure; 1 unless given.
            group: which readout a row trains, int64 (m,): one an arm; 0 unless given.
            family: rows of one family are held out together, int64 (m,); each its own unless given.
            watch: told how training goes.

        Raises:
            ValueError: fewer than two rows or families, or a value that is no number or beyond
                1e18 either way.
        """
        settings = settings or TrunkSettings()
        if len(x) < 2:
            raise ValueError(f"{len(x)} rows: at least 2 are needed, one to learn and one to stop")
        x = x.detach().float()
        logged = Rows(
            x=x,
            y=y.to(x),
            weight=torch.ones_like(x[:, 0]) if weight is None else weight.to(x),
            group=torch.zeros(len(x), dtype=torch.int64) if group is None else group,
        )
        for name in ("x", "y", "weight"):
            _check(name, getattr(logged, name))
        learned = trained(logged.to(x.device), family, settings, seed, watch)
        with torch.no_grad():
            lengths = [part.square().sum(1).mean() for part in (x, hidden(learned, x))]
            learned["length"] = torch.sqrt(lengths[0] / lengths[1].clamp_min(1e-12)).reshape(1)
        return cls(learned, settings)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """[φ(x), x], float32 (..., out + d), of raw features (..., d), on this trunk's device."""
        if x.shape[-1] != self.dim_in:
            raise ValueError(f"rows of {x.shape[-1]} features: this trunk takes {self.dim_in}")
        with torch.no_grad():
            raw = x.to(self._tensors["mean"])
            learned = hidden(self._tensors, raw) * self._tensors["length"]
            return torch.cat([learned, raw], dim=-1)

    def to(self, device: torch.device | str) -> "Trunk":
        """The same trunk, with the same version, on another device."""
        return Trunk({k: v.to(device) for k, v in self._tensors.items()}, self.settings)

    def save(self, path: Path) -> None:
        """Write weights, settings and version to one safetensors file."""
        about = {"settings": json.dumps(asdict(self.settings)), "version": self.version}
        save_file({k: v.cpu().contiguous() for k, v in self._tensors.items()}, path, about)

    @classmethod
    def load(cls, path: Path) -> "Trunk":
        """Read what `save` wrote; ValueError where the weights are not those of the version."""
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        trunk = cls(tensors, TrunkSettings(**json.loads(about["settings"])))
        if trunk.version != about["version"]:
            raise ValueError(f"{path} says {about['version']} and holds {trunk.version}: damaged")
        return trunk


def refold(
    trunk: Trunk,
    x: torch.Tensor,
    y: torch.Tensor,
    weight: torch.Tensor | None = None,
    at: torch.Tensor | None = None,
    *,
    group: torch.Tensor | None = None,
    groups: int = 1,
    ridge: float = 1.0,
    half_life: float | None = None,
    dtype: torch.dtype = torch.float32,
) -> LinearUCB:
    """A head for this trunk from logged raw rows; swap trunk and head at once, never one alone.

    Args:
        trunk: gives the features and the device. x: raw features (m, d).
        y, weight, at, group: as for `LinearUCB.update`.
        groups, ridge, half_life, dtype: as for `LinearUCB`.
    """
    device = trunk.features(x[:1]).device
    head = LinearUCB(
        trunk.dim, ridge=ridge, groups=groups, half_life=half_life, device=device, dtype=dtype
    )
    for i in range(0, len(x), _REFOLD_ROWS):
        part = slice(i, i + _REFOLD_ROWS)
        w, t, g = (None if column is None else column[part] for column in (weight, at, group))
        head.update(trunk.features(x[part]), y[part], w, group=g, at=t)
    return head


def _check(name: str, values: torch.Tensor) -> None:
    """Refuse what would make every weight NaN, or training end where it began."""
    wrong = ~(values.abs() <= _LARGEST)
    if wrong.any():
        row, *column = torch.nonzero(wrong)[0].tolist()
        place = f"row {row}" + "".join(f", column {number}" for number in column)
        raise ValueError(
            f"{name} is {float(values[(row, *column)]):g} in {place}: give numbers from "
            f"-{_LARGEST:g} to {_LARGEST:g}, or leave the row out"
        )


def _digest(tensors: Tensors, settings: TrunkSettings) -> str:
    """Sixteen hex digits of SHA-256 over settings and weights."""
    seen = hashlib.sha256(json.dumps(asdict(settings), sort_keys=True).encode())
    for name in sorted(tensors):
        seen.update(name.encode() + tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return seen.hexdigest()[:16]
