"""What training found: in the terminal, as JSON, as curves for TensorBoard."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from service.plain_console import plain_console

Curve = tuple[str, int, float, float]
"""What was trained, the epoch, the loss learned from, the held-out one."""

_PER = 1000  # impressions: deviances of one are small numbers
_UNITS = {"elasticity_sd": " (of its log)", "level": " units per impression"}


def show(found: dict[str, Any]) -> None:
    """Print what `service.train_command` found."""
    console = plain_console()
    left_out = "".join(f", {n} {why} left out" for why, n in found["left_out"].items())
    console.print(
        f"{found['source']}: {found['outcomes']} outcomes of {found['listings']} listings on "
        f"{found['days']} days{left_out}"
    )
    show_population(found["population"], console)
    table = Table("held out", "model", "deviance", "gain on the line above")
    for name, one in found["comparisons"].items():
        counts = f"{one['held_out']} outcomes", f"{one['listings']} listings"
        gains = (None, one["head_gain"], one["trunk_gain"])
        for row, ((model, deviance), gain) in enumerate(
            zip(one["deviance"].items(), gains, strict=True)
        ):
            head = (name, *counts)[row]
            table.add_row(head, model, f"{_PER * deviance:.3f}", _gain(gain) if gain else "")
        table.add_section()
    console.print(table)
    console.print(
        f"mean Poisson deviance per {_PER:,} impressions, lower is better; intervals of 95 %, "
        "paired, over listings and days"
    )
    console.print(found["verdict"], style="bold")


def show_trained_on(found: dict[str, Any]) -> None:
    """Print what the newest snapshot of a home was trained on."""
    console, told, versions = plain_console(), found["trained_on"], found["versions"]
    console.print(found["file"], style="bold")
    span = f", from {told['first']} to {told['last']}" if told["first"] else ""
    console.print(
        f"trained on {told['decisions']} decisions, {told['outcomes']} outcomes and "
        f"{told['sales']} recorded sales of {told['units']:g} units{span}"
    )
    console.print(
        f"versions: pricebandit {versions['pricebandit']}, features {versions['features']}, "
        f"encoder {versions['encoder']}, trunk {versions['trunk'] or 'none'}"
    )
    console.print(
        "rules: " + ", ".join(f"{name} {value}" for name, value in found["rules"].items())
    )
    show_population(found["population"], console)


def show_population(population: dict[str, Any], console: Console) -> None:
    """Print the catalogue's learned parameters."""
    # the population keeps its log
    shown = {**population, "elasticity": math.exp(population["elasticity"])}
    scalars = (f"{k} {v:.3g}{_UNITS.get(k, '')}" for k, v in shown.items() if isinstance(v, float))
    effects = ", ".join(population["effects"]) or "nothing"
    console.print(f"population: {', '.join(scalars)}; elasticity depends on {effects}")


def to_tensorboard(found: dict[str, Any], curves: Iterable[Curve], folder: Path) -> None:
    """Losses of each training over its epochs, and the comparison at the end."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder))
    for name, epoch, learned, held_out in curves:
        writer.add_scalar(f"{name}/learned", learned, epoch)
        writer.add_scalar(f"{name}/held_out", held_out, epoch)
    for name, one in found["comparisons"].items():
        for step, deviance in enumerate(one["deviance"].values()):
            writer.add_scalar(f"{name}/deviance", deviance, step)
        for gain in ("head_gain", "trunk_gain"):
            for end in ("low", "value", "high"):
                writer.add_scalar(f"{name}/{gain}/{end}", one[gain][end], 0)
    writer.close()


def _gain(gain: dict[str, float]) -> str:
    value, low, high = (_PER * gain[name] for name in ("value", "low", "high"))
    return f"{value:+.3f} ({low:+.3f} … {high:+.3f})"
