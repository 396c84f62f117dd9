"""How an adapter is trained: each choice in one place, defaults picked by `docs/finetune.md`."""

from __future__ import annotations

import math
from dataclasses import dataclass

SHAPE = ("rank", "alpha", "rslora", "dora", "layers", "modules")
"""Choices that an earlier adapter has made already, for all that go on from it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Choices of a training run; the same recipe, data and base give the same adapter.

    Attributes:
        rank, alpha: of LoRA; its change of a weight is alpha / rank · B A (Hu et al. 2022, eq. 3),
            with `rslora` alpha / √rank (Kalajdzievski 2023). `dora`: its decomposition into
            magnitude and direction (Liu et al. 2024).
        layers: topmost transformer layers that are adapted; the frozen ones below are computed
            once for each text, which halves the time where half are adapted. 0: all layers; below
            0: all but so many lowest.
        modules: names of linear layers to adapt, e.g. "query"; empty: every one.
        init_share: how much of an earlier adapter's change of the weights a run that goes on from
            it begins with, above 0 and at most 1 (shrinking: Ash and Adams 2020, section 4, without
            its noise). An adapter begun with in full learns another catalogue less well.
        epochs: passes over the products at most. patience: epochs without a better held-out error
            after which training stops, and the best epoch is kept; 0: it goes to the end, and the
            last is kept, for vectors go on getting better while the learning rate falls.
        batch: products in a step, all of them each other's neighbours. accumulate: parts that a
            step is computed in, one after the other.
        learning_rate: of the adapter, after a warm-up over a tenth of the steps, falling as a
            cosine. head_rate: of the linear heads, in multiples of it. weight_decay: as AdamW's.
        held_out: share of the product groups that is never trained on, in [0, 1).
        tasks: targets to learn, by name; empty: all that the data have. Price alone, because one
            vector that has to tell demand as well tells price worse.
        head, neighbours, together, meaning: weights of the four losses, see `finetune.losses`.
        temperature: of similarities in the neighbourhood's loss.
        adversarial: length of the worst-case step that texts are learned after, too, in what the
            frozen layers say of each token, as a share of its own length (Miyato et al. 2017); in
            word vectors where no layer is frozen. 0: none, in half the time.
        seed: decides everything that is drawn.
    """

    rank: int = 16
    alpha: float = 32.0
    rslora: bool = False
    dora: bool = False
    layers: int = -1
    modules: tuple[str, ...] = ()
    init_share: float = 0.5
    epochs: int = 16
    patience: int = 0
    batch: int = 128
    accumulate: int = 1
    learning_rate: float = 2e-3
    head_rate: float = 5.0
    weight_decay: float = 0.01
    held_out: float = 0.1
    tasks: tuple[str, ...] = ("log price",)
    head: float = 1.0
    neighbours: float = 2.0
    together: float = 0.0
    meaning: float = 1.0
    temperature: float = 0.1
    adversarial: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (
            ("rank", 1), ("epochs", 1), ("patience", 0), ("batch", 8),
            ("accumulate", 1), ("seed", 0),
        ):  # fmt: skip
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}: give at least {least}")
        if self.seed >= 1 << 63:
            raise ValueError(f"seed is {self.seed}: give a number below 2^63")
        for name in ("alpha", "learning_rate", "head_rate", "temperature"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(
                    f"{name} is {getattr(self, name)}: give a number above 0, and finite"
                )
        if not 0 < self.init_share <= 1:
            raise ValueError(
                f"init_share is {self.init_share}: give a share above 0 and at most 1; "
                "to begin with nothing leave the earlier adapter away"
            )
        losses = ("head", "neighbours", "together", "meaning")
        for name in (*losses, "weight_decay", "adversarial"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}: give 0 or more, and finite")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}: give a share of at least 0, below 1")
        if not any(getattr(self, name) for name in losses[:3]):
            raise ValueError("head, neighbours and together are all 0: nothing would be learned")
        if self.batch // self.accumulate < 8:
            raise ValueError(
                f"batch {self.batch} in {self.accumulate} parts leaves fewer than 8 products each, "
                "too few to be each other's neighbours: raise batch or lower accumulate"
            )
