"""An evaluation as a table in the terminal."""

from typing import Any

from rich.table import Table

from service.evaluate import NO_PREDICTION
from service.plain_console import plain_console

LOOKED = (
    "What is earned per impression is not what is earned, here and where prices are chosen: count "
    "all who were shown the price, in lists, too, or tell the same number for every listing and day"
)
ENDED = (
    "Low prices were seen by fewer, as where what is sold out is taken off, or a price is asked "
    "anew after each sale: they earn less in all than they do per impression"
)


def show(found: dict[str, Any]) -> None:
    """Print what `service.evaluate.report` found."""
    console, weights = plain_console(), found["weights"]
    console.print(
        f"{found['policy']} on {found['decisions']} decisions, {found['impressions']} impressions; "
        f"{found['currency']} of profit per 1,000 impressions, intervals of {found['level']:.0%}"
    )
    for reason, count in found["left_out"].items():
        if count:
            console.print(f"left out: {count} {reason}")
    if count := found["without_predictions"]:
        console.print(f"{count} {NO_PREDICTION}: estimated without predictions")
    answer = found["impressions_elasticity"]
    if answer and not answer["low"] <= 0 <= answer["high"]:
        why = ENDED if answer["low"] > 0 else LOOKED
        console.print(
            f"impressions answer to the price: by {answer['value']:.2f} per cent for each per cent "
            f"({answer['low']:.2f} … {answer['high']:.2f}). {why}"
        )
    table = Table("estimator", "earns", "interval", "gain", "interval")
    logged = found["logged"]
    table.add_row("(the log)", _money(logged["value"]), _range(logged), "", "")
    for name, estimate in found["estimates"].items():
        value, gain = estimate["value"], estimate["gain"]
        mark = "*" if estimate["left_out"] else ""
        table.add_row(
            name + mark, _money(value["value"]), _range(value), _money(gain["value"]), _range(gain)
        )
    console.print(table)
    for name, estimate in found["estimates"].items():
        if estimate["left_out"]:
            console.print(f"* {name}: the interval leaves out {estimate['left_out']}")
    console.print(
        f"effective sample size {weights['effective']:.0f} of {weights['groups']} draws; weights: "
        f"mean {weights['mean']:.3f} ± {weights['mean_se']:.3f}, largest {weights['largest']:.1f}; "
        f"the heaviest draw has {weights['largest_share']:.1%} of their sum"
    )


def _money(value: float) -> str:
    return f"{1000 * value:.2f}"


def _range(interval: dict[str, float]) -> str:
    return f"{_money(interval['low'])} … {_money(interval['high'])}"
