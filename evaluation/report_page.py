"""A benchmark's report as one HTML page that loads nothing: figures, tables, and what is real."""

from __future__ import annotations

import inspect
import re
import shlex
from html import escape
from itertools import chain

from evaluation import report_plots as plots
from evaluation.benchmark import Run
from evaluation.report import LEVEL, rows
from evaluation.report_record import Record
from evaluation.report_terminal import cells, columns, said
from markets import Buyers, Conditions

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --ground: #fff; --line: #ccc; --box: #f4f4f4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e4e4; --ground: #161616; --line: #444; --box: #222 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
svg { max-width: 100%; height: auto }
figure { margin: 1.5rem 0; overflow-x: auto }
figcaption { font-size: .9rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem }
th, td { border-bottom: 1px solid var(--line); padding: .25rem .6rem; text-align: right }
th:first-child, td:first-child { text-align: left }
caption { text-align: left; padding-bottom: .4rem }
aside { background: var(--box); border: 1px solid var(--line); padding: .5rem 1.2rem }
code, pre { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere }
pre { white-space: pre-wrap }
"""
_MOST_PATHS = 3


def page(record: Record, against: str) -> str:
    """The report as HTML. Whatever stems from data is escaped."""
    title = f"Benchmark of pricing policies on {record.data['name']}"
    failures = record.outcome.failures
    body = chain(
        [f"<h1>{escape(title)}</h1>", _summary(record)],
        *(_market(record, market, against) for market in record.markets if _any(record, market)),
        [_failures(record)] if failures else [],
        [_assumed(record), _again(record)],
    )
    # a page that may load nothing
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def _summary(record: Record) -> str:
    seeds = ", ".join(map(str, record.seeds))
    stopped = " <strong>Interrupted: seeds are missing.</strong>" if record.outcome.stopped else ""
    return (
        f"<p>{len(record.sellers)} policies, {len(record.markets)} markets, seeds {seeds}: "
        f"{len(record.outcome.runs)} trials held, {len(record.outcome.failures)} failed.{stopped} "
        "Each policy first prices known listings, then new listings whose product families it has "
        "never seen. Shares are of the expected gain of a clairvoyant who knows the buyers and may "
        "charge any price: profit, or revenue where no cost is known. "
        f"Intervals are Student's {LEVEL:.0%} over seeds; a difference is paired by seed.</p>"
    )


def _market(record: Record, market: str, against: str) -> list[str]:
    found = {s: r for s in record.sellers if (r := record.outcome.of(market, s))}
    look = plots.looks(record.sellers)
    paths = _paths(record, market, against)
    seed = next(iter(paths.values())).trial.seed
    return [
        f"<section><h2>{escape(market)}</h2>",
        f"<p>{escape(said(record, market))}.</p>",
        _table(record, market, against),
        _shown(plots.share_by_day(found, look), "Share of the clairvoyant's gain by day"),
        _shown(plots.regret_by_day(found, look), "Gain missed so far"),
        _shown(
            plots.price_paths(paths, look),
            f"Prices of the first new listings of seed {seed}, beside their best prices: the "
            f"policy compared with and the best {_MOST_PATHS} others",
        ),
        _shown(
            plots.arm_use(found, look),
            "Use of the ladder's rungs, or of those nearest to the price, cheapest first",
        ),
        "</section>",
    ]


def _paths(record: Record, market: str, against: str) -> dict[str, Run]:
    """Runs of one seed: the seller compared with, where it has one, and the best others."""
    runs = {
        (run.trial.seed, run.trial.seller): run
        for run in record.outcome.runs
        if run.trial.market == market
    }
    seed = next(iter(runs))[0]
    best = [row.seller for row in rows(record.outcome, market, record.sellers, against)]
    others = [seller for seller in best if seller != against and (seed, seller) in runs]
    shown = [seller for seller in (against,) if (seed, seller) in runs] + others[:_MOST_PATHS]
    return {seller: runs[seed, seller] for seller in shown}


def _table(record: Record, market: str, against: str) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns(against))
    lines = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>\n"
        for row in cells(record, market, against)
    )
    caption = f"{escape(market)}: means over seeds ± half the length of their {LEVEL:.0%} intervals"
    return (
        f'<div class="wide"><table><caption>{caption}; differences in points</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody></table></div>"
    )


def _shown(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}.</figcaption></figure>"


def _failures(record: Record) -> str:
    items = "".join(
        f"<li>{escape(f.trial.seller)} in {escape(f.trial.market)}, seed {f.trial.seed}: "
        f"<code>{escape(f.error)}</code></li>"
        for f in record.outcome.failures
    )
    return f"<section><h2>Trials that failed</h2><ul>{items}</ul></section>"


def _assumed(record: Record) -> str:
    conditions = "".join(
        f"<li>{escape(name)}: {escape(market.conditions.assumed())}; texts explain "
        f"{market.text_share:.0%} of the spread of elasticities</li>"
        for name, market in record.markets.items()
    )
    return (
        "<aside><h2>What is real, what is assumed</h2>"
        f"<h3>Real</h3><p>{_section(Buyers, 'What is real')}</p>"
        f"<h3>Assumed</h3><p>{_section(Buyers, 'What is assumed')}</p>"
        f"<p>{_summary_of(Conditions)}</p><ul>{conditions}</ul></aside>"
    )


def _again(record: Record) -> str:
    made, data = record.made, record.data
    command = shlex.join(str(word) for word in made["command"])
    packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
    lines = {
        "Data": f"{data['name']}, SHA-256 {data['sha256']}, {data['listings']} listings, "
        f"{data['currency']}; texts embedded by {data['vectors']}",
        "Made": f"{made['at']} in {made['seconds']:.0f} s, {made['jobs']} jobs, {made['machine']}",
        "Versions": f"Python {made['python']}, {packages}",
    }
    items = "".join(f"<li>{name}: {escape(text)}</li>" for name, text in lines.items())
    return f"<section><h2>Again</h2><pre>{escape(command)}</pre><ul>{items}</ul></section>"


def _any(record: Record, market: str) -> bool:
    return any(run.trial.market == market for run in record.outcome.runs)


def _section(what: type, heading: str) -> str:
    """The paragraph under a heading of a docstring."""
    found = re.search(rf"^{heading}:\n((?: +.*\n)+)", (inspect.getdoc(what) or "") + "\n", re.M)
    return _prose(found[1]) if found else ""


def _summary_of(what: type) -> str:
    """A docstring up to its first heading."""
    return _prose((inspect.getdoc(what) or "").split("\n\nAttributes:")[0])


def _prose(text: str) -> str:
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(" ".join(text.split())))
