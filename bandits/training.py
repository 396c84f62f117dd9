"""Training of the small network under a linear head, from logged rows."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.nn.functional import gelu

Tensors = dict[str, torch.Tensor]

Watch = Callable[[int, float, float], None]
"""Called after each epoch with its number, from 0, the loss it learned from and the held-out loss;
epoch 0 is the straight readout alone."""

_THROWN_AWAY = ("readout", "raw", "bias")
"""What training needs of a network and a head does better."""


@dataclass(frozen=True, slots=True)
class TrunkSettings:
    """How a trunk is built and trained.

    Attributes:
        width: units of each of the two hidden layers.
        out: learned features, at most 32: a head costs d² memory and d³ to solve.
        loss: "squared" error of the target, or "poisson" deviance of a rate with its exposure.
        learning_rate: of AdamW. weight_decay: of its weights, not of biases.
        batch: rows a step. epochs: at most. patience: epochs without a better held-out loss.
        held_out: share of families kept for stopping.
    """

    width: int = 64
    out: int = 32
    loss: Literal["squared", "poisson"] = "squared"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    batch: int = 256
    epochs: int = 100
    patience: int = 8
    held_out: float = 0.2

    def __post_init__(self) -> None:
        if not 1 <= self.out <= 32:
            raise ValueError(f"out is {self.out}: 1 to 32 learned features")


@dataclass(frozen=True, slots=True)
class Rows:
    """Logged rows on one device: x (m, d), the others (m,)."""

    x: torch.Tensor
    y: torch.Tensor
    weight: torch.Tensor
    group: torch.Tensor

    def to(self, device: torch.device) -> "Rows":
        """The same rows on another device."""
        return Rows(*(part.to(device) for part in (self.x, self.y, self.weight, self.group)))

    def __getitem__(self, rows: torch.Tensor) -> "Rows":
        return Rows(self.x[rows], self.y[rows], self.weight[rows], self.group[rows])


def trained(
    rows: Rows,
    family: torch.Tensor | None,
    settings: TrunkSettings,
    seed: int,
    watch: Watch | None = None,
) -> Tensors:
    """Weights of a trunk; the seed decides what is held out, drawn and shuffled.

    Args:
        rows: logged rows. family: rows of one are held out together, int64 (m,), or None.
        watch: told how training goes.
    """
    draw = torch.Generator().manual_seed(seed)
    learn, stop = _split(len(rows.x), family, settings.held_out, draw)
    tensors = _drawn(rows, int(rows.group.max()) + 1, settings, draw)
    device = rows.x.device
    best = _train(tensors, rows, (learn.to(device), stop.to(device)), settings, draw, watch)
    return {name: value for name, value in best.items() if name not in _THROWN_AWAY}


def hidden(tensors: Tensors, x: torch.Tensor) -> torch.Tensor:
    """φ(x) / c of `Trunk`: tanh features (..., out) of raw rows (..., d)."""
    seen = (x - tensors["mean"]) / tensors["scale"]
    seen = gelu(seen @ tensors["w1"] + tensors["b1"])
    seen = gelu(seen @ tensors["w2"] + tensors["b2"])
    return torch.tanh(seen @ tensors["w3"] + tensors["b3"])


def _loss(tensors: Tensors, rows: Rows, settings: TrunkSettings) -> torch.Tensor:
    """Weighted loss of the readouts that the rows belong to, a scalar."""
    raw = (rows.x - tensors["mean"]) / tensors["scale"]
    found = raw @ tensors["raw"] + hidden(tensors, rows.x) @ tensors["readout"] + tensors["bias"]
    found = found.gather(1, rows.group[:, None])[:, 0]
    if settings.loss == "poisson":
        lost = torch.exp(found) - rows.y * found  # deviance / 2, less what the target alone decides
    else:
        lost = (found - rows.y).square()
    return (rows.weight * lost).sum() / rows.weight.sum().clamp_min(1e-12)


def _drawn(rows: Rows, groups: int, settings: TrunkSettings, draw: torch.Generator) -> Tensors:
    """Weights at the start; drawn on the CPU, so that a seed means the same on every device."""
    x, d = rows.x, rows.x.shape[1]
    shapes = {"w1": (d, settings.width), "w2": (settings.width,) * 2}
    shapes["w3"] = (settings.width, settings.out)
    tensors = {
        name: (torch.randn(shape, generator=draw) / math.sqrt(shape[0])).to(x.device)
        for name, shape in shapes.items()
    }
    for i in (1, 2, 3):
        tensors[f"b{i}"] = torch.zeros(shapes[f"w{i}"][1], device=x.device)
    spread = x.std(0)
    tensors["mean"] = x.mean(0)
    tensors["scale"] = torch.where(spread > 1e-6, spread, torch.ones_like(spread))
    tensors["readout"] = torch.zeros(settings.out, groups, device=x.device)
    tensors["raw"] = torch.zeros(d, groups, device=x.device)
    mean = (rows.weight * rows.y).sum() / rows.weight.sum().clamp_min(1e-12)
    start = torch.log(mean.clamp_min(1e-6)) if settings.loss == "poisson" else mean
    tensors["bias"] = start * torch.ones(groups, device=x.device)
    return tensors


def _split(
    rows: int, family: torch.Tensor | None, share: float, draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows to learn from and rows to stop by, whole families in either."""
    names = torch.arange(rows) if family is None else family.cpu()
    found, of = torch.unique(names, return_inverse=True)
    if len(found) < 2:
        raise ValueError("one family: at least 2 are needed, one to learn from and one to stop by")
    held = torch.zeros(len(found), dtype=torch.bool)
    count = min(max(1, round(share * len(found))), len(found) - 1)
    held[torch.randperm(len(found), generator=draw)[:count]] = True
    return torch.nonzero(~held[of])[:, 0], torch.nonzero(held[of])[:, 0]


def _train(
    tensors: Tensors,
    rows: Rows,
    parts: tuple[torch.Tensor, torch.Tensor],
    settings: TrunkSettings,
    draw: torch.Generator,
    watch: Watch | None,
) -> Tensors:
    """The weights with the lowest held-out loss; `parts` are rows to learn from and to stop by."""
    learn, stop = parts
    moved = {k: v.requires_grad_() for k, v in tensors.items() if k not in ("mean", "scale")}
    decayed = [v for k, v in moved.items() if k[0] == "w"]
    free = [v for k, v in moved.items() if k[0] != "w"]
    decays: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": free},
    ]
    optimiser = torch.optim.AdamW(decays, lr=settings.learning_rate, weight_decay=0.0)
    held_out = rows[stop]
    _fit_linear(tensors, rows[learn], settings)
    best, since = _copied(tensors), 0
    with torch.no_grad():
        lowest = float(_loss(tensors, held_out, settings))
        if watch:
            watch(0, float(_loss(tensors, rows[learn], settings)), lowest)
    for epoch in range(1, settings.epochs + 1):
        losses = []
        for part in _batches(learn, settings.batch, draw):
            optimiser.zero_grad()
            loss = _loss(tensors, rows[part], settings)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(loss.detach())
        with torch.no_grad():
            lost = float(_loss(tensors, held_out, settings))
        if watch:
            watch(epoch, float(torch.stack(losses).mean()), lost)
        since += 1
        if lost < lowest:
            best, lowest, since = _copied(tensors), lost, 0
        if since >= settings.patience:
            break
    return best


def _fit_linear(tensors: Tensors, rows: Rows, settings: TrunkSettings) -> None:
    """Fit the readout of raw features alone, with a ridge of 1: φ is to learn only what is left.

    Without this head start φ learns the straight part too, and some noise with it.
    """
    read = [tensors["raw"], tensors["bias"]]
    optimiser = torch.optim.LBFGS(read, max_iter=40, line_search_fn="strong_wolfe")

    def lost() -> torch.Tensor:
        optimiser.zero_grad()
        ridge = tensors["raw"].square().sum() / rows.weight.sum().clamp_min(1e-12)
        loss = _loss(tensors, rows, settings) + ridge
        loss.backward(inputs=read)  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(lost)  # type: ignore[no-untyped-call]


def _batches(learn: torch.Tensor, batch: int, draw: torch.Generator) -> Iterator[torch.Tensor]:
    order = torch.randperm(len(learn), generator=draw).to(learn.device)
    for i in range(0, len(order), batch):
        yield learn[order[i : i + batch]]


def _copied(tensors: Tensors) -> Tensors:
    return {name: value.detach().clone() for name, value in tensors.items()}
