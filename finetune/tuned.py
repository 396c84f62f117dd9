"""What a training run uses, whom it tells, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from finetune.augmentation import Augmentation
from finetune.judging import Judgement
from finetune.recipe import Recipe
from finetune.training import Epoch


@dataclass(frozen=True, slots=True)
class Hardware:
    """What a run uses; none of it changes what is learned, but for rounding.

    Attributes:
        cpu: stay on the CPU where there is a GPU. precision: "no" or "bf16"; None: bf16 on a GPU.
        checkpointing: compute layers again in the backward pass, to save memory.
        trackers: "tensorboard", "wandb". logs: folder for TensorBoard.
    """

    cpu: bool = False
    precision: str | None = None
    checkpointing: bool = False
    trackers: tuple[str, ...] = ()
    logs: Path | None = None


@dataclass(frozen=True, slots=True)
class Tuned:
    """A finished run.

    Attributes:
        folder: of the adapter. judgement: its figures. epochs: as they went. best: number of the
            one that was kept. learned, held_out: products. init: name of the earlier adapter or
            tuned base model, and how many of those held out it had learned, None where it does
            not say. kept_shape: it is an adapter, whose `recipe.SHAPE` counts, not this recipe's.
        trainable: share of parameters.
        seconds: training took, before a kill too. memory: peak of the process, bytes.
        base: name and fingerprint of the base model. recipe, augmentation: as given.
        device, precision: that it was trained on and in, "no" being float32.
        main: whether this process is the one of several that wrote the adapter.
    """

    folder: Path
    judgement: Judgement
    epochs: list[Epoch]
    best: int
    learned: int
    held_out: int
    init: tuple[str, int | None] | None
    kept_shape: bool
    trainable: float
    seconds: float
    memory: int
    base: tuple[str, str]
    recipe: Recipe
    augmentation: Augmentation
    device: str
    precision: str
    main: bool


@dataclass(slots=True)
class Listener:
    """Called as a run goes on: after an epoch, and after a step with its number and their total."""

    epoch: Callable[[Epoch], None] = field(default=lambda _: None)
    step: Callable[[int, int], None] = field(default=lambda _, __: None)
