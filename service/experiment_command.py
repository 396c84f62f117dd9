"""The command `pricebandit experiment`: what A/B tests say, from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Option

Name = Annotated[str | None, typer.Argument(help="Of the experiment. Without one: list them all.")]
Log = Annotated[
    str | None,
    Option("--log", help="SQLAlchemy URL of the log. Default: the one that the home uses."),
]
Home = Annotated[
    Path | None,
    Option(help="Folder of all state. Default: PRICEBANDIT_HOME, or ./pricebandit-home."),
]
Currency = Annotated[str | None, Option(help="ISO 4217 code; needed if units have several.")]
Lag = Annotated[
    int, Option(min=0, max=365, help="Days after a period until its sales are all told.")
]
Json = Annotated[bool, Option("--json", help="Print JSON, not text.")]


def experiment(
    name: Name = None,
    log: Log = None,
    home: Home = None,
    currency: Currency = None,
    lag_days: Lag = 0,
    as_json: Json = False,
) -> None:
    """Say what an A/B test has found so far; the service may be running, and goes on."""
    import orjson
    import sqlalchemy as sa

    from service import experiments
    from service.evaluate import LogUnreadable, reader, unreadable
    from service.experiment_report import report
    from service.pricebandit import now_us
    from service.problems import Problem
    from service.settings import BadSettings, read_settings

    try:
        engine = reader(read_settings(home=home, database_url=log).url)
    except (BadSettings, LogUnreadable) as error:
        _fail(str(error))
    try:
        at = now_us()
        known = [one.as_json(at) for one in experiments.all_of(engine)]
        found = None if name is None else report(engine, name, at, currency, lag_days)
    except Problem as problem:
        _fail(problem.detail)
    except sa.exc.DBAPIError as error:
        _fail(str(unreadable(engine, error)))
    finally:
        engine.dispose()
    if as_json:
        typer.echo(orjson.dumps(found or known, option=orjson.OPT_INDENT_2).decode())
    elif found is None:
        _list(known)
    else:
        _show(found)


def _list(found: list[dict[str, Any]]) -> None:
    for one in found:
        typer.echo(f"{one['name']}: {_span(one)}, {one['state']}")
    if not found:
        typer.echo("no experiment yet: POST /v1/experiments begins one")


def _span(one: dict[str, Any]) -> str:
    last = f"to {one['last_day']}" if one["last_day"] else "until it is stopped"
    return f"{one['share']:.0%} of units each {one['period']}, from {one['first_day']} {last}"


def _show(found: dict[str, Any]) -> None:
    """Print what `service.experiment_report.report` found."""
    from service.experiments import CONTROL

    typer.echo(f"{found['name']}: {_span(found)}, {found['state']}")
    typer.echo(found["verdict"])
    if "difference" not in found:
        return
    for arm, money in found["profit_per_impression"].items():
        per_thousand = f"{1000 * money:.2f} {found['currency']} of profit per 1,000 impressions"
        typer.echo(f"{arm:>10}: {per_thousand}, {found['units'][arm]} units and periods")
    lift = found["lift"]
    if lift is not None and lift["value"] == lift["value"]:
        earn = "lose" if found["profit_per_impression"][CONTROL] < 0 else "earn"
        typer.echo(
            f"difference: {lift['value']:+.1%} ({lift['low']:+.1%} … {lift['high']:+.1%}) of what "
            f"reference prices {earn}, by days and what units earned before"
        )


def _fail(message: str) -> Any:
    typer.echo(message, err=True)
    raise typer.Exit(1)
