"""The command `pricebandit train`: its options, its progress, its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer import Option

from service.progress_bar import ProgressBar

if TYPE_CHECKING:
    from service.settings import Settings
    from service.train import Comparison, Rows
    from service.train_report import Curve

Data = Annotated[
    Path | None,
    Option(help="A table of sales with impressions. Default: the home's own log."),
]
Currency = Annotated[str | None, Option(help="Of a table that does not say: ISO 4217.")]
Home = Annotated[
    Path | None,
    Option(help="Folder of all state. Default: PRICEBANDIT_HOME, or ./pricebandit-home."),
]
Seed = Annotated[int, Option(min=0, max=(1 << 63) - 1, help="Decides everything that is drawn.")]
Adopt = Annotated[
    bool, Option("--adopt", help="Put a trunk that wins in use, from the next start on.")
]
Rollback = Annotated[
    bool, Option("--rollback", help="Take the trunk in use out of it again; nothing is trained.")
]
Show = Annotated[
    bool, Option("--show", help="Say what the newest snapshot was trained on; nothing is trained.")
]
Json = Annotated[Path | None, Option(help="Write what was found to this file.")]
Tensorboard = Annotated[
    Path | None, Option(help="Write curves of the training to this folder, new or empty.")
]


def train(
    data: Data = None,
    currency: Currency = None,
    home: Home = None,
    seed: Seed = 1,
    adopt: Adopt = False,
    rollback: Rollback = False,
    show: Show = False,
    json: Json = None,
    tensorboard: Tensorboard = None,
) -> None:
    """Train features of a neural network, and say on held-out sales whether they are better."""
    from service.settings import BadSettings, read_settings

    try:
        settings = read_settings(home=home)
    except BadSettings as error:
        _fail(str(error))
    if adopt + rollback + show > 1:
        _fail("--adopt, --rollback and --show do three different things: give one of them")
    given = {"--data": data, "--currency": currency, "--tensorboard": tensorboard}
    given |= {"--json": json} if rollback else {}
    idle = [name for name, value in given.items() if value is not None]
    if (rollback or show) and idle:
        what = "--rollback" if rollback else "--show"
        _fail(f"{what} trains nothing: leave {' and '.join(idle)} out")
    if currency is not None and data is None:
        _fail("--currency is of a table: give --data, too")
    if rollback:
        _roll_back(settings)
    elif show:
        _show(settings, json)
    else:
        _train(settings, data, currency, seed, adopt, json, tensorboard)


def _train(
    settings: Settings,
    data: Path | None,
    currency: str | None,
    seed: int,
    adopt: bool,
    json: Path | None,
    tensorboard: Path | None,
) -> None:
    """Train, show what was found and write it where asked."""
    import sqlalchemy as sa

    from encoders import EncoderError
    from evaluation.scalars import MissingPackage
    from service import train_report
    from service.benchmark import Places
    from service.home import HomeInUse
    from service.log import LogUnusable, trouble_of

    if data is None and not settings.holds_a_log:
        _fail(f"{settings.home} holds no log: give the --home of a service, or --data")
    try:
        Places(json=json, tensorboard=tensorboard).check()
        found, curves = _found(settings, data, currency, seed, adopt)
        train_report.show(found)
        if json is not None:
            _write(json, found)
        if tensorboard is not None:
            train_report.to_tensorboard(found, curves, tensorboard)
    except sa.exc.SQLAlchemyError as error:
        _fail(f"the log cannot be used ({trouble_of(error)}): run this again")
    except (HomeInUse, LogUnusable, EncoderError, MissingPackage, OSError, ValueError) as error:
        _fail(str(error))


def _found(
    settings: Settings, data: Path | None, currency: str | None, seed: int, adopt: bool
) -> tuple[dict[str, Any], list[Curve]]:
    """What training found, adopted if asked and earned; and its curves."""
    import numpy as np
    import torch

    from markets import read_sales_table
    from service import snapshots, train, trunks
    from service.learning import logged_version
    from service.rehearsal import rehearse

    curves: list[Curve] = []
    source = "the log" if data is None else data.name
    history = None if data is None else read_sales_table(data, currency=currency)
    for note in history.notes if history else ():
        typer.echo(f"{source}: {note}", err=True)
    with ProgressBar("opening") as bar:
        if history is None:
            rows, bandit = _lived(settings, bar)
        else:
            rows, bandit = rehearse(history, source, settings, bar.told)

        def watch(name: str, epoch: int, learned: float, held_out: float) -> None:
            curves.append((name, epoch, learned, held_out))
            bar.told(f"training, {name}", epoch, train.SETTINGS.epochs)

        device = torch.device(settings.torch_device)
        compared = train.compare(rows, settings.rules, device, seed, watch)
        better = train.better(compared)
        trunk = train.trained_on(rows, device, seed, watch=watch) if better and adopt else None
        if trunk is not None:
            trunks.adopt(settings.home, trunk, logged_version(bandit.fold.features_of))
            if data is None:  # a start under the new trunk reads the whole log: now, not later
                _lived(settings, bar)
    at = rows.outcomes.at
    version = trunk.version if trunk is not None else None
    found = {
        "source": source,
        "seed": seed,
        "outcomes": len(at),
        "listings": len(set(rows.name)),
        "days": len(np.unique(at // 86_400_000_000)),
        "left_out": rows.left_out,
        "snapshot": snapshots.described(settings.home / "snapshots") if data is None else None,
        "population": snapshots.summary(bandit.policy.population),
        "comparisons": {name: _spelled(one) for name, one in compared.items()},
        "better": better,
        "adopted": version,
        "verdict": _verdict(compared, version),
    }
    return found, curves


def _lived(settings: Settings, bar: ProgressBar) -> tuple[Rows, Any]:
    """Outcomes of the home's log, and its state as it was when closed again."""
    from service.pricebandit import Pricebandit
    from service.train import rows_of_log

    bandit = Pricebandit(settings, bar.told)
    try:
        return rows_of_log(bandit.log, bandit.catalogue, bandit.fold.features_of), bandit
    finally:
        bandit.close()


def _verdict(compared: dict[str, Comparison], adopted: str | None) -> str:
    if adopted:
        return (
            f"trunk-{adopted}, trained on all outcomes, is in use from the next start on; "
            "`pricebandit train --rollback` goes back"
        )
    lost = [name for name, one in compared.items() if one.trunk_gain.low <= 0]
    if lost:
        return (
            f"The raw features stay: on {' and on '.join(lost)} the interval of the trunk's gain "
            "is not above 0. Nothing is changed."
        )
    return "The trunk is better on both. Nothing is changed: --adopt puts it in use."


def _spelled(one: Comparison) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(one)


def _roll_back(settings: Settings) -> None:
    import sqlalchemy as sa

    from encoders import EncoderError
    from service import trunks
    from service.models import at_next_start

    try:
        if not trunks.adopted(settings.home):
            _fail(f"{settings.home} has no trunk in use: there is nothing to go back from")
        space, _ = at_next_start(settings)
        before, after = trunks.roll_back(settings.home, trunks.features_in(space))
    except (EncoderError, OSError, ValueError, sa.exc.SQLAlchemyError) as error:
        _fail(str(error))
    if before is None:
        _fail(
            f"{settings.home} has no trunk in use with model {space}: there is nothing to go back "
            "from, and trunks of other models stay"
        )
    now = f"trunk-{after} is" if after else "raw features are"
    typer.echo(f"trunk-{before} is out of use; {now} used from the next start on")


def _show(settings: Settings, json: Path | None) -> None:
    from service.benchmark import Places
    from service.snapshots import described
    from service.train_report import show_trained_on

    try:
        Places(json=json).check()
    except ValueError as error:
        _fail(str(error))
    found = described(settings.home / "snapshots")
    if found is None:
        _fail(
            f"{settings.home / 'snapshots'} holds no snapshot of this version: one is written when "
            "the service stops, or by `pricebandit replay`"
        )
    show_trained_on(found)
    if json is not None:
        _write(json, found)


def _write(path: Path, found: dict[str, Any]) -> None:
    from json import dumps

    path.write_text(dumps(found, indent=1) + "\n")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
