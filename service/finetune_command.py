"""The command `pricebandit finetune`: its options, its progress, its exit status."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Option

from service.progress_bar import ProgressBar

if TYPE_CHECKING:
    from finetune.tuned import Tuned

Data = Annotated[
    Path, Option(help="Online Retail, a table of sales, or a list of products with prices.")
]
Output = Annotated[Path, Option(help="Folder for the adapter, new or empty.")]
Base = Annotated[
    str | None, Option(help="Base model: hub name or local folder. Default: PRICEBANDIT_ENCODER.")
]
Init = Annotated[
    Path | None, Option("--init-adapter", help="Go on from this adapter, of another catalogue say.")
]
InitShare = Annotated[
    float | None, Option("--init-share", help="How much of it is begun with, above 0 to 1.")
]
Currency = Annotated[str | None, Option(help="Of a table that does not say: ISO 4217.")]
Merged = Annotated[
    Path | None, Option(help="Write the whole model with the adapter merged in here, too.")
]
Restart = Annotated[bool, Option("--restart", help="Forget what a killed run left in --output.")]
Cpu = Annotated[bool, Option("--cpu", help="Stay on the CPU where there is a GPU.")]
Precision = Annotated[str | None, Option(help="no or bf16. Default: bf16 on a GPU.")]
Checkpointing = Annotated[bool, Option("--gradient-checkpointing", help="Less memory, more time.")]
Tensorboard = Annotated[Path | None, Option(help="Write curves for TensorBoard to this folder.")]
Wandb = Annotated[bool, Option("--wandb", help="Write curves to Weights & Biases.")]
Tasks = Annotated[
    str | None, Option(help='Targets, e.g. "log price,log demand"; "all" for all that are known.')
]
Modules = Annotated[
    str | None, Option("--target-modules", help='Linear layers, e.g. "query,value". Default: all.')
]
Rank = Annotated[int | None, Option(help="Of LoRA.")]
Alpha = Annotated[float | None, Option(help="Of LoRA: its change counts alpha / rank.")]
Dora = Annotated[bool | None, Option("--dora/--no-dora", help="Magnitude and direction apart.")]
Rslora = Annotated[bool | None, Option("--rslora/--no-rslora", help="alpha / √rank.")]
Layers = Annotated[
    int | None, Option(help="Topmost layers to adapt; 0: all; -1, the default: all but the lowest.")
]
Epochs = Annotated[int | None, Option(help="Passes over the products at most.")]
Patience = Annotated[
    int | None, Option(help="Stop after so many epochs without a better one, and keep that; 0: no.")
]
Batch = Annotated[int | None, Option(help="Products in a step.")]
Accumulate = Annotated[int | None, Option(help="Parts that a step is computed in.")]
Rate = Annotated[float | None, Option("--learning-rate", help="Of the adapter.")]
Decay = Annotated[float | None, Option("--weight-decay", help="As AdamW's.")]
HeldOut = Annotated[
    float | None, Option("--held-out", help="Share of product groups never trained on.")
]
Head = Annotated[float | None, Option(help="Weight of the linear heads' error.")]
Neighbours = Annotated[float | None, Option(help="Weight of the neighbours' error.")]
Together = Annotated[float | None, Option(help="Weight of what is bought together.")]
Meaning = Annotated[float | None, Option(help="Weight of general meaning staying as it was.")]
Adversarial = Annotated[
    float | None, Option(help="Length of worst-case steps, relative; 0: none, in half the time.")
]
WordDropout = Annotated[float, Option(help="Chance that a word is left out in training.")]
Reorder = Annotated[float, Option(help="Chance that a text's words change places.")]
Synonyms = Annotated[float, Option(help="Chance that a word gives way to one like it.")]
FieldMasking = Annotated[float, Option(help="Chance that a field beside the title is left out.")]
Seed = Annotated[int | None, Option(help="Decides everything that is drawn.")]

_WIDTH = 120  # where the output is no terminal


def finetune(
    data: Data,
    output: Output,
    base: Base = None,
    init_adapter: Init = None,
    init_share: InitShare = None,
    currency: Currency = None,
    merged: Merged = None,
    restart: Restart = False,
    tasks: Tasks = None,
    rank: Rank = None,
    alpha: Alpha = None,
    dora: Dora = None,
    rslora: Rslora = None,
    layers: Layers = None,
    target_modules: Modules = None,
    epochs: Epochs = None,
    patience: Patience = None,
    batch: Batch = None,
    accumulate: Accumulate = None,
    learning_rate: Rate = None,
    weight_decay: Decay = None,
    held_out: HeldOut = None,
    head: Head = None,
    neighbours: Neighbours = None,
    together: Together = None,
    meaning: Meaning = None,
    adversarial: Adversarial = None,
    word_dropout: WordDropout = 0.0,
    reorder: Reorder = 0.0,
    synonyms: Synonyms = 0.0,
    field_masking: FieldMasking = 0.0,
    seed: Seed = None,
    cpu: Cpu = False,
    precision: Precision = None,
    gradient_checkpointing: Checkpointing = False,
    tensorboard: Tensorboard = None,
    wandb: Wandb = False,
) -> None:
    """Teach the encoder what matters for price: LoRA on a sales history; resumes if killed."""
    choices = {
        "tasks": () if tasks == "all" else _names(tasks),
        "modules": _names(target_modules), "rank": rank, "alpha": alpha,
        "dora": dora, "rslora": rslora, "layers": layers, "init_share": init_share,
        "epochs": epochs, "patience": patience,
        "batch": batch, "accumulate": accumulate, "learning_rate": learning_rate,
        "weight_decay": weight_decay, "held_out": held_out, "head": head,
        "neighbours": neighbours, "together": together, "meaning": meaning,
        "adversarial": adversarial, "seed": seed,
    }  # fmt: skip
    hardware = {
        "cpu": cpu, "precision": precision, "checkpointing": gradient_checkpointing,
        "trackers": (*(["tensorboard"] if tensorboard else []), *(["wandb"] if wandb else [])),
        "logs": tensorboard,
    }  # fmt: skip
    words = {"word_dropout": word_dropout, "reorder": reorder, "synonyms": synonyms,
             "field_masking": field_masking}  # fmt: skip
    from encoders import EncoderError
    from evaluation.scalars import MissingPackage

    try:
        _check(hardware)
        given = {name: value for name, value in choices.items() if value is not None}
        _check_begun(init_adapter, given)
        places = (output, base, init_adapter, merged)
        found = _tuned(data, currency, places, restart, given, words, hardware)
    except (EncoderError, MissingPackage, FloatingPointError, OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if found.main:
        _show(found)


def _names(given: str | None) -> tuple[str, ...] | None:
    """Names of a comma-separated list; None where nothing is asked for."""
    if given is None:
        return None
    return tuple(name.strip() for name in given.split(",") if name.strip())


def _check(hardware: dict[str, Any]) -> None:
    """Find out before a long run what would go wrong in it."""
    from evaluation import scalars

    if hardware["precision"] not in (None, "no", "bf16"):
        raise ValueError(f"precision is {hardware['precision']!r}: give no or bf16")
    if "tensorboard" in hardware["trackers"]:
        scalars.require_tensorboard()
    if "wandb" in hardware["trackers"]:
        scalars.require_wandb()


def _check_begun(init: Path | None, given: dict[str, Any]) -> None:
    """Refuse choices that would change nothing."""
    from finetune.recipe import SHAPE

    if init is None and "init_share" in given:
        raise ValueError("init_share is of an earlier adapter: give --init-adapter, too")
    if init is not None and (idle := [name for name in SHAPE if name in given]):
        raise ValueError(
            f"{', '.join(idle)}: an adapter that is gone on from keeps its own: leave it out, or "
            "begin without --init-adapter"
        )


def _tuned(
    data: Path,
    currency: str | None,
    places: tuple[Path, str | None, Path | None, Path | None],
    restart: bool,
    choices: dict[str, Any],
    words: dict[str, float],
    hardware: dict[str, Any],
) -> Tuned:
    """Read the products, say what was dropped, and train under a progress bar."""
    from finetune import Augmentation, Hardware, Listener, Recipe, read_products, tune
    from finetune.training import Epoch
    from service.settings import read_settings

    output, base, init, merged = places
    base = base or read_settings().encoder
    recipe, augmentation = Recipe(**choices), Augmentation(**words)
    products = read_products(data, currency)
    if os.environ.get("RANK", "0") == "0":  # of several processes, one tells
        for note in products.notes:
            typer.echo(f"{data.name}: {note}", err=True)
    with ProgressBar("training") as bar:

        def epoch(so_far: Epoch) -> None:
            held_out = f", held out {so_far.held_out:.3f} (kept: epoch {so_far.best})"
            known = held_out if so_far.held_out == so_far.held_out else ""
            what = f"epoch {so_far.number} of {so_far.of}: loss {so_far.loss:.3f}{known}"
            bar.to(what=what)

        return tune(
            products,
            output,
            recipe,
            augmentation,
            source=data.name,
            base=base,
            init=init,
            hardware=Hardware(**hardware),
            restart=restart,
            merged=merged,
            listener=Listener(epoch, bar.to),
        )


def _show(found: Tuned) -> None:
    """Print what came out."""
    from rich.table import Table

    from service.plain_console import plain_console

    console, judged = plain_console(), found.judgement
    if not console.is_terminal:
        console = plain_console(width=_WIDTH)
    console.print(
        f"{found.learned:,} products learned from, {found.held_out:,} held out; "
        f"{len(found.epochs)} epochs in {found.seconds:.0f} s on {found.device}, "
        f"epoch {found.best} kept; {found.trainable:.2%} of the parameters trained"
    )
    if judged.r2:
        table = Table("R² on held-out products", *judged.r2)
        for row in judged.rows():
            table.add_row(*row)
        console.print(table)
    if not math.isnan(judged.kept):
        console.print(f"general meaning kept: rank correlation {judged.kept:.3f}")
    if not judged.takeover.held:
        name, reach = max(judged.takeover.reach.items(), key=lambda item: item[1])
        console.print(
            f"warning: a hostile text ({name}) is among the ten nearest of {reach:.1%} of the "
            "products: train with more meaning or fewer epochs",
            style="bold red",
        )
    typer.echo(f"adapter: {found.folder} ({_advice(found)})")


def _advice(found: Tuned) -> str:
    """Whether to roll an adapter out, by what a policy guesses of held-out prices with it and
    without it, where there are any.
    """
    from finetune.judging import POLICY, PRICE

    by = found.judgement.r2.get(PRICE)
    if by is not None and by[POLICY[1]] <= by[POLICY[0]]:
        return (
            f"not worth a rollout: R² of the policy's guess of {PRICE} is {by[POLICY[1]]:.3f}, and "
            f"{by[POLICY[0]]:.3f} without it"
        )
    return f"roll it out: pricebandit rollout {found.folder}"
