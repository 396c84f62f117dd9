"""A benchmark's tables in the terminal, in a form that Markdown pages take as they are."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from evaluation.intervals import Interval
from evaluation.report import LEVEL, rows
from evaluation.report_record import Record

_WIDTH = 200  # where the output is no terminal


def show(record: Record, against: str) -> None:
    """Print a table for each market, and what failed."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    names = ", ".join(str(seed) for seed in record.seeds)
    console.print(
        f"{record.data['name']}, seeds {names}; shares of the profit (text regime: of the revenue) "
        f"of a clairvoyant, with {LEVEL:.0%} intervals over seeds",
        markup=False,
    )
    for market in record.markets:
        console.print()
        console.print(f"{market}: {said(record, market)}", markup=False)
        if any(run.trial.market == market for run in record.outcome.runs):
            console.print(_table(record, market, against))
        else:
            console.print("no trial was held", markup=False)
    if record.outcome.failures:
        console.print(f"\n{len(record.outcome.failures)} trials failed:", markup=False)
    for failure in record.outcome.failures:
        trial = failure.trial
        console.print(
            f"  {trial.seller} in {trial.market}, seed {trial.seed}: {failure.error}", markup=False
        )
    if record.outcome.stopped:
        console.print("\ninterrupted: seeds are missing", markup=False)


def said(record: Record, market: str) -> str:
    """A market in a line."""
    of = record.markets[market]
    return (
        f"{of.regime} regime, demand {', '.join(of.families)}, {of.conditions.assumed()}, "
        f"at most {of.known} known listings priced for {of.warm_days} days, then {of.new} new ones"
    )


def share(interval: Interval) -> str:
    """A share in per cent and half the length of its interval."""
    if interval.value != interval.value:
        return "–"
    reach = interval.high - interval.value
    return f"{interval.value:.1%}" + (f" ± {100 * reach:.1f}" if reach == reach else "")


def difference(interval: Interval) -> str:
    """A difference of shares in points, and half the length of its interval."""
    if interval.value != interval.value:
        return "–"
    reach = interval.high - interval.value
    return f"{100 * interval.value:+.2f}" + (f" ± {100 * reach:.2f}" if reach == reach else "")


def columns(against: str) -> tuple[str, ...]:
    """Headings of `cells`."""
    return (
        "policy",
        "share",
        f"minus {against}",
        "day 1",
        "first 100: regret",
        "regret",
        "of best rung",
        "decisions / CPU s",
        "seeds",
    )


def cells(record: Record, market: str, against: str) -> list[tuple[str, ...]]:
    """The table of a market as text."""
    return [
        (
            row.seller,
            share(row.share),
            difference(row.difference),
            share(row.day_one),
            share(row.first_regret),
            share(row.regret),
            share(row.best_rung),
            f"{row.pace:,.0f}" if row.pace == row.pace else "–",
            str(row.seeds),
        )
        for row in rows(record.outcome, market, record.sellers, against)
    ]


def _table(record: Record, market: str, against: str) -> Table:
    table = Table(box=box.MARKDOWN)
    for number, name in enumerate(columns(against)):
        table.add_column(name, justify="right" if number else "left")
    for row in cells(record, market, against):
        table.add_row(*row)
    return table
