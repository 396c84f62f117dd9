"""The command line. Heavy imports happen inside commands: `--help` must answer at once."""

import gc
import signal
import sys
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from service.benchmark_command import benchmark
from service.experiment_command import experiment
from service.finetune_command import finetune
from service.progress_bar import ProgressBar
from service.rollout_command import rollout
from service.train_command import train

if TYPE_CHECKING:
    from service.pricebandit import Pricebandit
    from service.problems import ItemError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Prices for listings, learned from their texts and their sales.",
)

Home = Annotated[
    Path | None,
    typer.Option(help="Folder of all state. Default: PRICEBANDIT_HOME, or ./pricebandit-home."),
]

Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="First, or last, day (UTC) of the decisions."),
]

_SHOWN_ERRORS = 20
_PART = 10_000


def _say_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"pricebandit {version('pricebandit')}")
        raise typer.Exit


@app.callback()
def _shared(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Take options that stand before a command."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    home: Home = None,
) -> None:
    """Serve the HTTP API; it answers at once and prices when /readyz says so."""
    import uvicorn

    from service.app import create_app

    # each batch makes thousands of short-lived objects: at the usual thresholds the collector
    # would walk through the whole catalogue several times a batch
    gc.set_threshold(100_000, 50, 100)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # uvicorn tidies up, and then dies of it
    settings = _settings(home, host=host, port=port)
    failures: list[Exception] = []

    def stop(error: Exception) -> None:
        failures.append(error)
        server.should_exit = True

    application = create_app(settings, on_failure=stop)
    server = uvicorn.Server(
        uvicorn.Config(
            application,
            host=settings.host,
            port=settings.port,
            access_log=False,
            # what waits for a batch in flight is finished before the process ends
            timeout_graceful_shutdown=30,
        )
    )
    server.run()
    if failures:
        _fail(str(failures[0]))


@app.command()
def demo(
    data: Annotated[
        Path | None,
        typer.Option(
            help="Recorded sales with Online Retail's columns; the made-up catalogue if unset."
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, help="Simulated days.")] = 30,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run, from `--seed` on.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 1,
    home: Annotated[
        Path,
        typer.Option(help="Folder of the demo's state; its embeddings are kept for next time."),
    ] = Path("pricebandit-demo"),
) -> None:
    """Price listings never seen before over HTTP, sell them to simulated buyers, and get better."""
    try:
        from service.demo import DemoError, run
    except ModuleNotFoundError as error:
        _fail(f"the demo needs {error.name}: pip install 'pricebandit[demo]'")
    from encoders import EncoderError
    from service.home import HomeInUse

    _settings(home)
    try:
        run(data, home, days, list(range(seed, seed + seeds)))
    except (DemoError, HomeInUse, EncoderError, OSError, ValueError) as error:
        _fail(str(error))


@app.command()
def index(
    catalog: Annotated[
        Path, typer.Argument(help="CSV, Parquet, xlsx or JSON lines, fields in columns.")
    ],
    leave_out: Annotated[
        str, typer.Option(help="Columns that hold no field of a listing, separated by commas.")
    ] = "",
    home: Home = None,
) -> None:
    """Register a catalogue's listings and embed their texts."""
    from service import registering
    from service.items import read_items
    from service.problems import ItemError
    from service.reading import contradictions
    from service.schemas import LISTINGS
    from service.tables import TableError, catalogue, filled, listing_items, read_table

    others = [name.strip() for name in leave_out.split(",") if name.strip()]
    try:
        table = catalogue(read_table(catalog), catalog.name, others)
    except TableError as error:
        _fail(str(error))
    said = filled(table)
    place, rows = said.arg_true().to_list(), listing_items(table.filter(said))
    errors: list[ItemError] = []
    registered: set[str] = set()
    encoded = cached = 0
    with _open(home) as bandit, ProgressBar("embedding", len(rows)) as bar:
        for start in range(0, len(rows), _PART):
            items = read_items(LISTINGS, rows[start : start + _PART])
            items = items.without(contradictions(items))
            embedded = registering.embed_listings(bandit, items, partial(_show_from, bar, start))
            (answer,) = bandit.carry_out(registering.register, [embedded])
            refused = {e["index"] for e in answer["errors"]}
            registered |= {
                row["listing_id"]
                for i, row in zip(items.index.tolist(), items.rows, strict=True)
                if i not in refused
            }
            encoded += answer["encoded"]
            cached += answer["cached"]
            errors += [
                ItemError(place[start + e["index"]], e["field"], e["message"])
                for e in answer["errors"]
            ]
            bar.to(start + len(items.rows) + len(items.errors))
    typer.echo(
        f"{len(registered)} listings registered, {encoded} texts encoded, {cached} found in cache"
    )
    _tell_of_repeats(place, rows)
    _report(errors)


def _tell_of_repeats(place: list[int], rows: list[Any]) -> None:
    """Say which lines of a catalogue are of a listing that an earlier line is of."""
    from markets.checks import say_rows

    names: set[str] = set()
    again = []
    for line, row in zip(place, rows, strict=True):
        name = row.get("listing_id")
        if name in names:
            again.append((line, name))
        elif name is not None:
            names.add(name)
    if again:
        line, name = again[0]
        typer.echo(
            f"{say_rows(len(again))} of a listing that an earlier row is of, first row {line + 1} "
            f"({name!r}): the last row counts",
            err=True,
        )


@app.command("import")
def import_(
    sales: Annotated[
        Path,
        typer.Argument(
            help="CSV, Parquet, xlsx or JSON lines: listing_id, at, price, units, impressions."
        ),
    ],
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back what this file told when it was imported.")
    ] = False,
    home: Home = None,
) -> None:
    """Import recorded sales of registered listings; importing a file again changes nothing."""
    from service import suspicions
    from service.sales import import_sales, take_back
    from service.tables import TableError, not_read, read_table, rounding
    from service.tables import sales as sales_of

    try:
        table = read_table(sales)
        if others := not_read(table):
            typer.echo(f"not read: {', '.join(others)}", err=True)
        with _Opened(_with_a_log(home)) as bandit:
            catalogue = bandit.catalogue
            recorded = sales_of(table, catalogue.minor_units(), catalogue.currencies())
            doubt = None if undo else suspicions.of_record(catalogue, recorded)
            rounded = None if undo else rounding(recorded, catalogue.minor_units())
            total, answers = len(recorded.listing_id), []
            with ProgressBar("taking back" if undo else "importing", total) as bar:
                for start in range(0, total, _PART):
                    part = recorded.part(start, start + _PART)
                    answers += bandit.carry_out(take_back if undo else import_sales, [part])
                    bar.to(start + len(part.listing_id))
            if not undo:
                bandit.refresh()
        if undo:
            with _open(home) as bandit:  # as if they had never come
                bandit.refresh()
    except TableError as error:
        _fail(str(error))
    done = sum(answer["taken_back" if undo else "accepted"] for answer in answers)
    left = total - done
    if undo:
        typer.echo(f"{done} sales taken back, {left} were not there")
    else:
        typer.echo(f"{done} sales imported, {left} were there already")
        for note in filter(None, (rounded, doubt)):
            typer.echo(f"{sales.name}: {note}", err=True)
    _report(recorded.errors)


@app.command()
def price(
    titles: Annotated[list[str], typer.Argument(metavar="TITLE…", help="Titles of listings.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code.")] = "GBP",
    cost: Annotated[float | None, typer.Option(help="Unit cost, currency units.")] = None,
    reference: Annotated[float | None, typer.Option(help="What it sells for today.")] = None,
    home: Home = None,
) -> None:
    """Say what listings with these titles would be priced at; nothing is recorded."""
    from rich.table import Table

    from bandits import MINOR_DIGITS
    from service.items import read_items
    from service.plain_console import plain_console
    from service.pricing import what_if
    from service.schemas import LISTINGS

    listings = [
        {
            "listing_id": f"title {i}",
            "title": title,
            "currency": currency,
            **({} if cost is None else {"unit_cost": cost}),
            **({} if reference is None else {"reference_price": reference}),
        }
        for i, title in enumerate(titles, 1)
    ]
    items = read_items(LISTINGS, listings)
    table = Table("title", "price", "ladder", "units / impression", "similar to")
    doubts = []
    with _Opened(_with_a_log(home)) as bandit:
        answer = what_if(bandit, items)
        for decision in answer["decisions"]:
            number = int(decision["listing_id"].split()[1])
            money = f".{MINOR_DIGITS[decision['currency']]}f"  # to the minor unit, at any height
            similar = [
                f"{bandit.catalogue.document[bandit.catalogue.row_of[e['listing_id']]]['title']}"
                f" ({format(e['price'], money) if 'price' in e else 'no price'})"
                for e in decision["evidence"]
            ]
            ladder = decision["ladder"]
            table.add_row(
                titles[number - 1],
                f"{decision['price']:{money}} {decision['currency']}",
                f"{ladder[0]:{money}} … {ladder[-1]:{money}}",
                f"{decision['expected']['units_per_impression']:.4f}",
                "\n".join(similar) or "nothing known",
            )
            if decision["degraded"]:
                doubts.append(f"{titles[number - 1]}: {decision['reason']}")
    if table.row_count:
        plain_console().print(table)
    for doubt in doubts:
        typer.echo(doubt)
    _report(items.errors)


@app.command()
def replay(home: Home = None) -> None:
    """Rebuild the model from the log, hold it against snapshot + tail, and save a new snapshot."""
    from service.learning import difference, rebuild

    with _Opened(_with_a_log(home)) as bandit:
        with ProgressBar("replaying", None) as bar:
            rebuilt, events = rebuild(bandit.fold, bandit.log, bandit.catalogue, bar.to)
        apart = difference(bandit.fold, rebuilt)
        bandit.snapshot()
        version = bandit.fold.version
    typer.echo(
        f"{events} events replayed; model {version}; largest relative difference {apart:.1e}"
    )
    if apart > 1e-9:
        _fail("the snapshot and the log disagree: delete the home's snapshots folder")


@app.command()
def evaluate(
    policy: Annotated[str, typer.Option(help="Target policy, such as greedy; see docs.")],
    log: Annotated[
        str | None,
        typer.Option(help="SQLAlchemy URL of the log. Default: the one that the home uses."),
    ] = None,
    home: Home = None,
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217 code; needed if the log has several.")
    ] = None,
    markup: Annotated[float, typer.Option(help="Price over unit cost, of cost-plus.")] = 2.0,
    since: Day = None,
    until: Day = None,
    bca: Annotated[bool, typer.Option("--bca", help="Bootstrap intervals: slow.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Estimate from the log what another policy would have earned; the service may be running."""
    import json

    from evaluation.logged import Unanswerable
    from service.evaluate import report
    from service.evaluation_report import show

    url = _settings(home, database_url=log).url
    try:
        currency = currency and currency.upper()
        method: Literal["bca", "student"] = "bca" if bca else "student"
        found = report(url, policy, currency, markup, method, _date(since), _date(until))
    except Unanswerable as refusal:
        if as_json:
            typer.echo(json.dumps({"policy": policy, "refused": refusal.reasons}, indent=1))
        _fail("\n".join(f"cannot be answered: {reason}" for reason in refusal.reasons))
    except ValueError as error:
        _fail(str(error))
    typer.echo(json.dumps(found, indent=1)) if as_json else show(found)


app.command()(benchmark)
app.command()(experiment)
app.command()(finetune)
app.command()(rollout)
app.command()(train)


def _date(day: datetime | None) -> date | None:
    return day and day.date()


def _settings(home: Path | None, **given: object) -> Any:
    from service.settings import BadSettings, read_settings

    try:
        return read_settings(home=home, **given)
    except BadSettings as error:
        _fail(str(error))


def _with_a_log(home: Path | None) -> Any:
    """Settings of a home that is there: a mistyped one is not made."""
    settings = _settings(home)
    if not settings.holds_a_log:
        _fail(f"{settings.home} holds no log: give the --home of a service")
    return settings


def _open(home: Path | None) -> "_Opened":
    return _Opened(_settings(home))


class _Opened:
    """The state, opened with a progress bar and closed at the end."""

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def __enter__(self) -> "Pricebandit":
        import sqlalchemy as sa

        from encoders import EncoderError
        from service.home import HomeInUse
        from service.log import LogUnusable
        from service.pricebandit import Pricebandit

        try:
            with ProgressBar("opening", None) as bar:
                self._bandit = Pricebandit(self._settings, bar.told)
        except sa.exc.SQLAlchemyError as error:
            _went_away(error)
        except (HomeInUse, LogUnusable, EncoderError, OSError) as error:
            _fail(str(error))
        return self._bandit

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        import sqlalchemy as sa

        from encoders import EncoderError
        from service.log import LogUnusable, Unsure

        self._bandit.close()
        if isinstance(error, sa.exc.SQLAlchemyError | LogUnusable | Unsure):
            _went_away(error)
        if isinstance(error, EncoderError | OSError):  # a disk that is full, a folder to read only
            _fail(str(error))


def _went_away(error: Exception) -> NoReturn:
    from service.log import trouble_of

    _fail(
        f"the log cannot be used ({trouble_of(error)}): what was done before is kept, run this "
        "again"
    )


def _show_from(bar: ProgressBar, start: int, done: int, total: int) -> None:
    bar.to(start + done)


def _report(errors: "list[ItemError]") -> None:
    """Show what was refused; the exit status says that something was."""
    for error in errors[:_SHOWN_ERRORS]:
        typer.echo(f"row {error.index + 1}: {error.message}", err=True)
    if len(errors) > _SHOWN_ERRORS:
        typer.echo(f"(and {len(errors) - _SHOWN_ERRORS} more)", err=True)
    if errors:
        raise typer.Exit(1)


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)


def main() -> None:
    """Entry point of the `pricebandit` command."""
    # what ends a command ends what it began, as Ctrl-C does: the service of a demo, the workers of
    # a benchmark, folders that are there for the time
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    app()


if __name__ == "__main__":
    main()
