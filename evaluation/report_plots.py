"""Figures of a benchmark as SVG that lies in a page and takes on its colours."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from evaluation.benchmark import Run
from evaluation.report import Floats, cumulative_regret, daily_share, over_seeds
from evaluation.trial import Result

# Drawn with this colour, which nothing else has, and then given the page's own.
_INK = "#010203"
# Seen by the colour-blind (Okabe and Ito) and against white as against black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a")
_DASHES = ("-", "--", ":", "-.")
_STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK
    ),
}
_ACROSS = 4
_SHORT = 34

Look = dict[str, Any]
"""Colour and dashes of a seller's line, as matplotlib calls them."""


def looks(sellers: Sequence[str]) -> dict[str, Look]:
    """A look for each seller, the same in every figure."""
    pairs = itertools.cycle(itertools.product(_DASHES, _COLOURS))
    return {
        seller: {"color": colour, "linestyle": dash}
        for seller, (dash, colour) in zip(sellers, pairs, strict=False)
    }


def share_by_day(found: Mapping[str, Mapping[int, Result]], look: Mapping[str, Look]) -> str:
    """Daily share of the clairvoyant's gain of each seller, with intervals."""
    series = {seller: daily_share(results) for seller, results in found.items()}
    last = {seller: over_seeds(shares[:, -1]).value for seller, shares in series.items()}
    said = ", ".join(f"{s} {v:.0%}" for s, v in sorted(last.items(), key=lambda e: -e[1]))
    alt = f"Lines: share of the clairvoyant's gain by day. On the last day: {said}."
    return _lines(series, look, "share of the clairvoyant's gain, %", alt)


def regret_by_day(found: Mapping[str, Mapping[int, Result]], look: Mapping[str, Look]) -> str:
    """Cumulative regret of each seller, with intervals."""
    series = {seller: cumulative_regret(results) for seller, results in found.items()}
    last = {seller: over_seeds(missed[:, -1]).value for seller, missed in series.items()}
    said = ", ".join(f"{s} {v:.1%}" for s, v in sorted(last.items(), key=lambda e: e[1]))
    alt = f"Lines: gain missed so far, of the clairvoyant's season. At the end: {said}."
    return _lines(series, look, "missed so far, % of the clairvoyant's season", alt)


def price_paths(runs: Mapping[str, Run], look: Mapping[str, Look]) -> str:
    """Prices of some sellers for the same few listings, beside the best prices."""
    shown = next(iter(runs.values())).shown
    alt = "Lines: prices by day beside the best prices, for " + "; ".join(map(_tidy, shown)) + "."
    with _figure(3, len(shown), 2.1, alt) as (figure, panels, drawn):
        for column, (axes, title) in enumerate(zip(panels, shown, strict=True)):
            for seller, run in runs.items():
                days = np.arange(1, len(run.result.path) + 1)
                axes.plot(days, run.result.path[:, column], label=seller, lw=1.3, **look[seller])
            best = run.result.best_path[:, column]
            axes.plot(days, best, color=_INK, lw=1.0, marker=".", ms=3, label="best price")
            axes.set_title(_short(title), fontsize=8)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            axes.set_ylim(bottom=0)
        panels[0].set_ylabel("price")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return "".join(drawn)


def arm_use(found: Mapping[str, Mapping[int, Result]], look: Mapping[str, Look]) -> str:
    """How often each seller charged each rung of the ladder."""
    used = {
        seller: np.mean([r.arms / max(r.arms.sum(), 1) for r in results.values()], axis=0)
        for seller, results in found.items()
    }
    most = ", ".join(f"{seller} rung {share.argmax() + 1}" for seller, share in used.items())
    alt = f"Bars: share of decisions by rung of the ladder, cheapest first. Most used: {most}."
    with _figure(_ACROSS, len(used), 1.6, alt) as (_, panels, drawn):
        top = max(float(share.max()) for share in used.values())
        for axes, (seller, share) in zip(panels, used.items(), strict=True):
            axes.bar(np.arange(1, share.size + 1), 100 * share, color=look[seller]["color"])
            axes.set_title(seller, fontsize=8)
            axes.set_ylim(0, 105 * top)
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panels[0].set_ylabel("% of decisions")
    return "".join(drawn)


def _lines(series: Mapping[str, Floats], look: Mapping[str, Look], label: str, alt: str) -> str:
    """A line of means over seeds for each seller, shaded by its interval."""
    with _figure(1, 1, 4.2, alt) as (figure, (axes,), drawn):
        for seller, values in series.items():
            days = np.arange(1, values.shape[1] + 1)
            each = [over_seeds(column) for column in 100 * values.T]
            mean, low, high = (
                np.array([getattr(one, name) for one in each]) for name in ("value", "low", "high")
            )
            axes.plot(days, mean, label=seller, lw=1.6, **look[seller])
            axes.fill_between(days, low, high, color=look[seller]["color"], alpha=0.12, lw=0)
        axes.set(xlabel="day", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color=_INK, alpha=0.12, lw=0.6)
        figure.legend(loc="outside right center")
    return "".join(drawn)


@contextmanager
def _figure(
    across: int, count: int, height: float, alt: str
) -> Iterator[tuple[Figure, list[Axes], list[str]]]:
    """A figure, `count` panels in it, and a list that has its SVG in the end."""
    drawn: list[str] = []
    down = -(-count // across)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, height * down + 0.5), layout="constrained")
        grid = figure.subplots(down, min(across, count), squeeze=False).ravel().tolist()
        for spare in grid[count:]:
            spare.set_visible(False)
        yield figure, grid[:count], drawn
        drawn.append(_svg(figure, alt))


def _svg(figure: Figure, alt: str) -> str:
    """SVG without what only a file of its own needs, named for those who cannot see it."""
    out = io.StringIO()
    # ids of clips and markers must differ between the figures of a page
    with matplotlib.rc_context({"svg.hashsalt": alt}):
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'<g id="[^"]*"', "<g", text).replace("xlink:href", "href")
    text = text.replace(_INK, "currentColor")
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(alt)}"', 1)


def _tidy(title: str) -> str:
    """A title without what no XML may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in title)


def _short(title: str) -> str:
    tidy = _tidy(title)
    return tidy if len(tidy) <= _SHORT else tidy[: _SHORT - 1] + "…"
