"""What the demo shows at its end: a table, and a chart in the terminal and as a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import plotext
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")  # a file, no window
from matplotlib import pyplot

SELLERS = ("bandit", "cost-plus", "fixed price")
_DAYS_SHOWN = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 45, 60, 90)


@dataclass(frozen=True, slots=True)
class Season:
    """What one seed's days earned: expected profit at the visitors that came, currency units.

    Attributes:
        seed: of the split and the buyers. new: listings that were new.
        profit: per seller, an entry a day: `clairvoyant`, `bandit`, `cost-plus`, `fixed price`.
        encoded, cached: listings whose text was new to the cache, and all others.
    """

    seed: int
    new: int
    profit: dict[str, NDArray[np.float64]]
    encoded: int
    cached: int


def report(seasons: Sequence[Season], chart: Path, console: Console) -> None:
    """Print shares of the clairvoyant's profit and save the chart."""
    shares = {name: _shares(seasons, name) for name in SELLERS}  # (seeds, days)
    console.print(_by_day(seasons, shares))
    console.print(_by_seed(seasons))
    console.print(
        "Profit is expected profit at the prices charged and the visitors that came. cost-plus: "
        "cost times the known listings' median markup. fixed price: what the shop itself charged, "
        "which the service is never told. clairvoyant: the best price if demand were known."
    )
    above = sum(_total(s, "bandit") > max(_total(s, n) for n in SELLERS[1:]) for s in seasons)
    console.print(f"bandit above both baselines on {above} of {len(seasons)} seeds")
    share = np.mean([_total(s, "bandit") / _total(s, "clairvoyant") for s in seasons])
    console.print(f"bandit's share of the clairvoyant's profit: {share:.1%}")
    _draw(shares)
    _save(shares, chart)
    console.print(f"chart: {chart.resolve()}", soft_wrap=True)


def _shares(seasons: Sequence[Season], name: str) -> NDArray[np.float64]:
    return np.array([s.profit[name] / s.profit["clairvoyant"] for s in seasons])


def _total(season: Season, name: str) -> float:
    return float(season.profit[name].sum())


def _by_day(seasons: Sequence[Season], shares: dict[str, NDArray[np.float64]]) -> Table:
    table = Table("day", "clairvoyant", *SELLERS, title="profit per day, share of the clairvoyant")
    days = shares["bandit"].shape[1]
    best = np.mean([s.profit["clairvoyant"] for s in seasons], axis=0)
    for day in (d for d in _DAYS_SHOWN if d <= days):
        cells = [f"{shares[name][:, day - 1].mean():.1%}" for name in SELLERS]
        table.add_row(str(day), f"{best[day - 1]:,.0f}", *cells)
    return table


def _by_seed(seasons: Sequence[Season]) -> Table:
    table = Table("seed", "clairvoyant", *SELLERS, title="profit over all days")
    for season in seasons:
        best = _total(season, "clairvoyant")
        cells = [
            f"{_total(season, name):,.0f} ({_total(season, name) / best:.1%})" for name in SELLERS
        ]
        table.add_row(str(season.seed), f"{best:,.0f}", *cells)
    return table


def _draw(shares: dict[str, NDArray[np.float64]]) -> None:
    plotext.clear_figure()
    plotext.plotsize(90, 22)
    plotext.theme("clear")
    for name, marker in zip(SELLERS, ("●", "+", "·"), strict=True):
        values = 100 * shares[name].mean(0)
        plotext.plot(range(1, len(values) + 1), values.tolist(), label=name, marker=marker)
    plotext.title("profit per day, % of the clairvoyant")
    plotext.xlabel("day")
    plotext.show()


def _save(shares: dict[str, NDArray[np.float64]], chart: Path) -> None:
    figure, axes = pyplot.subplots(figsize=(8, 4.5))
    for name in SELLERS:
        mean, days = 100 * shares[name].mean(0), np.arange(1, shares[name].shape[1] + 1)
        (line,) = axes.plot(days, mean, label=name)
        if len(shares[name]) > 1:
            low, high = 100 * shares[name].min(0), 100 * shares[name].max(0)
            axes.fill_between(days, low, high, color=line.get_color(), alpha=0.15)
    axes.axhline(100, color="grey", linewidth=0.8)
    axes.set(
        xlabel="day", ylabel="profit, % of the clairvoyant", title="Listings never seen before"
    )
    axes.legend()
    figure.tight_layout()
    chart.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(chart, dpi=120)
    pyplot.close(figure)
