"""A shop of 200 listings nobody has sold, costs known, whose days all begin on one: for benchmarks
that change what its buyers do, and say what a seller makes of it.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.stage import Market, Stage, stage
from evaluation.trial import Result
from markets import Conditions, History, read_online_retail
from markets.texts import text_vectors

FIRST = 20_000  # days since 1970, a Friday

Row = Sequence[Sequence[float]]
"""Shares that each of the sellers reaches with one seed."""


def vectors_of(history: History) -> NDArray[np.float32]:
    """Its titles, read by their words, for speed."""
    return text_vectors(history.listings["title"].to_list())


def parts_of(history: History, days: int, seed: int) -> dict[str, Any]:
    """What a stage is made of, beside 300 listings whose prices are recorded."""
    market = Market("cost", known=300, new=200, warm_days=0, conditions=Conditions(days=days))
    plain = stage(history, vectors_of(history), market, seed)
    parts = {field.name: getattr(plain, field.name) for field in fields(Stage)}
    arrival = np.full(len(plain.buyers), FIRST)
    parts["calendar"] = replace(plain.calendar, arrival=arrival, month=np.ones(12))
    return parts


def shares_of(result: Result, last: int = 10) -> tuple[float, float]:
    """Shares of the clairvoyant's gain that a seller reached, over all days and over the last."""
    return result.share, float(result.gain[-last:].sum() / result.best[-last:].sum())


def show(
    doc: str | None,
    head: str,
    names: Iterable[str],
    shares: Callable[[History, int, str, int], Row],
    widths: tuple[int, int],
    fewest: int,
) -> None:
    """Print a line for each name: what every seller reaches, in per cent, seed by seed.

    Args:
        shares: of a history, days, a name and a seed. widths: of names and of sellers' columns.
        fewest: days that may be asked for.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--days", type=int, default=40)
    parser.add_argument("--only", default="", help="rows whose names hold this")
    given = parser.parse_args()
    if given.days < fewest or given.seeds < 1:
        parser.error(f"--days must be at least {fewest}, and --seeds at least 1")
    history = read_online_retail(given.table)
    print(head)
    for name in names:
        if given.only in name:
            rows = [shares(history, given.days, name, seed + 1) for seed in range(given.seeds)]
            columns = [
                "   ".join(" ".join(f"{100 * share:.1f}" for share in one) for one in column)
                for column in zip(*rows, strict=True)
            ]
            print(f"{name:{widths[0]}}", *(f"{c:>{widths[1]}}" for c in columns), flush=True)
