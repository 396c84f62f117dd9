"""A benchmark's curves as scalars, for TensorBoard and for Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from evaluation.report import Floats, cumulative_regret, daily_share, over_seeds, rows
from evaluation.report_record import Record


class MissingPackage(RuntimeError):
    """A package that only this needs is not installed; the message says how to."""


def require_tensorboard() -> None:
    """Raise `MissingPackage` where TensorBoard is not installed."""
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError as error:
        fix = "pip install 'pricebandit[report]'"
        raise MissingPackage(f"TensorBoard is not installed ({error}): {fix}") from error


def require_wandb() -> Any:
    """Weights & Biases' client; `MissingPackage` where it is not installed."""
    try:
        return import_module("wandb")
    except ImportError as error:
        fix = "pip install wandb"
        raise MissingPackage(f"Weights & Biases is not installed ({error}): {fix}") from error


def scalars(record: Record, seller: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Day, from 1, and means over seeds: `<market>/share`, `<market>/cumulative_regret`."""
    curves: dict[str, Floats] = {}
    for market in record.markets:
        results = record.outcome.of(market, seller)
        if results:
            curves[f"{market}/share"] = _mean(daily_share(results))
            curves[f"{market}/cumulative_regret"] = _mean(cumulative_regret(results))
    for day in range(max(map(len, curves.values()), default=0)):
        today = {name: float(curve[day]) for name, curve in curves.items() if day < len(curve)}
        yield day + 1, {name: value for name, value in today.items() if value == value}


def to_tensorboard(record: Record, folder: Path) -> None:
    """A run for each seller in a folder of its own under `folder`."""
    require_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    for seller in record.sellers:
        writer = SummaryWriter(str(folder / seller))
        for day, values in scalars(record, seller):
            for name, value in values.items():
                writer.add_scalar(name, value, day)
        writer.close()


def to_wandb(record: Record, project: str, against: str) -> None:
    """A run for each seller in a project, with its shares over the season as a summary."""
    wandb = require_wandb()
    for seller in record.sellers:
        config = {"seller": seller, "seeds": list(record.seeds), "data": dict(record.data)}
        run = wandb.init(project=project, name=seller, config=config, reinit="finish_previous")
        for day, values in scalars(record, seller):
            run.log(values, step=day)
        for market in record.markets:
            for row in rows(record.outcome, market, [seller], against):
                run.summary[f"{market}/season_share"] = row.share.value
        run.finish()


def _mean(values: Floats) -> Floats:
    """Means over seeds, (days,), NaN where none has a number."""
    return np.array([over_seeds(column).value for column in values.T])
