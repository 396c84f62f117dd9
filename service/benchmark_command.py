"""The command `pricebandit benchmark`: its options, its progress, its exit status."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from service.progress_bar import ProgressBar

if TYPE_CHECKING:
    from evaluation.report_record import Record
    from service.benchmark_plan import Asked

_OF_REPORTS = {"ctx", "source", "against", "json", "html", "tensorboard", "wandb"}

Data = Annotated[
    Path | None,
    Option(help="Online Retail, or a table of sales. Default: the shipped catalogue."),
]
Currency = Annotated[str | None, Option(help="Of a table of sales that does not say: ISO 4217.")]
Policies = Annotated[str, Option(help="Names separated by commas, or own, peers, or all.")]
Regimes = Annotated[str, Option(help="What is known of new listings: reference, cost, text.")]
Families = Annotated[
    str | None,
    Option(help="Demand: logit, exponential, linear, constant. Default: the first three."),
]
Each = Annotated[bool, Option("--each-family", help="A market for each family, not a mixture.")]
Scenario = Annotated[str, Option(help="What changes: plain, changing, memory, inventory, late.")]
Seeds = Annotated[int, Option(help="How many seeds, from `--seed` on.")]
Seed = Annotated[int, Option(help="The first seed.")]
Days = Annotated[int, Option(help="Days that new listings are on sale.")]
Known = Annotated[int | None, Option(help="Listings priced before. Default: 1500, or all.")]
New = Annotated[int | None, Option(help="New listings. Default: 400, or all.")]
Warm = Annotated[int, Option(help="Days that the known listings are priced for before.")]
Jobs = Annotated[int | None, Option(min=1, help="Processes. Default: one a processor.")]
Words = Annotated[
    bool, Option("--no-embeddings", help="Embed texts by their words, without the encoder.")
]
Home = Annotated[
    Path | None,
    Option(help="Folder whose embeddings are used. Default: PRICEBANDIT_HOME."),
]
Against = Annotated[
    str | None, Option(help="Policy that others are compared with. Default: pricebandit.")
]
Json = Annotated[Path | None, Option(help="Write everything, per seed, to this file.")]
Html = Annotated[Path | None, Option(help="Write a report as one page to this file.")]
Tensorboard = Annotated[Path | None, Option(help="Write scalars to this folder, new or empty.")]
Wandb = Annotated[str | None, Option(help="Send scalars to this Weights & Biases project.")]
Source = Annotated[
    Path | None,
    Option("--from", help="Report again from a file that --json wrote; nothing is run."),
]


def benchmark(
    ctx: typer.Context,
    data: Data = None,
    currency: Currency = None,
    policies: Policies = "own",
    regimes: Regimes = "all",
    families: Families = None,
    each_family: Each = False,
    scenario: Scenario = "plain",
    seeds: Seeds = 10,
    seed: Seed = 1,
    days: Days = 30,
    warm_days: Warm = 20,
    known: Known = None,
    new: New = None,
    jobs: Jobs = None,
    no_embeddings: Words = False,
    home: Home = None,
    against: Against = None,
    json: Json = None,
    html: Html = None,
    tensorboard: Tensorboard = None,
    wandb: Wandb = None,
    source: Source = None,
) -> None:
    """Let policies price new listings of many markets and seeds, and report with intervals."""
    from encoders import EncoderError
    from evaluation.processes import CannotStart
    from evaluation.report_record import read
    from evaluation.scalars import MissingPackage
    from service.benchmark import Places, deliver
    from service.benchmark_plan import Asked, compared_with

    asked = Asked(
        data, currency, policies, regimes, families, each_family, scenario, seeds, seed, days,
        warm_days, known, new, not no_embeddings,
    )  # fmt: skip
    try:
        places = Places(json, html, tensorboard, wandb)
        places.check()
        if source is not None:
            _only_reports(ctx)
            try:
                record = read(source)
            except OSError as error:
                raise ValueError(
                    f"--from is {source}, which cannot be read ({error.strerror}): "
                    "give a file that --json wrote"
                ) from error
            against = compared_with(against, record.sellers)
        else:
            record, against = _run(asked, against, jobs, home)
        for path in deliver(record, against, places):
            typer.echo(f"written: {path}")
    except (EncoderError, CannotStart, MissingPackage, OSError, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    if record.outcome.stopped:
        raise typer.Exit(130)
    if record.outcome.failures:
        raise typer.Exit(1)


def _run(
    asked: Asked, against: str | None, jobs: int | None, home: Path | None
) -> tuple[Record, str]:
    """Run what was asked for under a progress bar; the record, and whom to compare with."""

    from service.benchmark import run
    from service.benchmark_plan import compared_with, plan
    from service.settings import read_settings

    settings = read_settings(home=home)
    planned = plan(asked)
    against = compared_with(against, planned.sellers)
    command = ["pricebandit", *sys.argv[1:]]
    with ProgressBar("starting") as bar:
        return run(planned, settings, jobs, command, bar.told), against


def _only_reports(ctx: typer.Context) -> None:
    """Refuse options of a run beside `--from`: they would change nothing."""
    given = [
        name
        for name in ctx.params
        if name not in _OF_REPORTS
        and (source := ctx.get_parameter_source(name)) is not None
        and source.name == "COMMANDLINE"
    ]
    if given:
        options = ", ".join("--" + name.replace("_", "-") for name in given)
        raise ValueError(f"--from runs nothing: leave out {options}")
