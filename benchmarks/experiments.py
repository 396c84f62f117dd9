"""False alarms, misses and power of the A/B test, beside other ways to look at the same data.

Run: python benchmarks/experiments.py [--experiments 10000] [--seed 7] [--json FILE]
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evaluation import sample_ratio
from evaluation.sequential import TIGHTEST_AT, leftover, log_evidence, tightness

ALPHA = 0.05
UNITS = 2000
BATCH = 250
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class World:
    """What units earn before any effect, and how the coin falls.

    Args:
        sigma: of the log-normal profit. conversion: share of units with a profit at all.
        share: treated. impressions: mean per unit, Poisson; one each without.
        listings: number of listings that come back every period, or none: all units independent.
        covariate: whether the listing's profit before is known.
    """

    sigma: float
    conversion: float = 1.0
    share: float = 0.5
    impressions: float | None = None
    listings: int | None = None
    covariate: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    profit: Floats  # (experiments, units), as all of these
    impressions: Floats
    treated: NDArray[np.bool_]
    covariate: Floats | None


def throw(world: World, rng: np.random.Generator, experiments: int, units: int) -> Data:
    shape = (experiments, units)
    treated = rng.random(shape) < world.share
    shown = np.ones(shape)
    if world.impressions is not None:
        level = np.exp(rng.normal(size=shape)) * world.impressions
        shown = rng.poisson(level).astype(np.float64)
    log = rng.normal(size=shape) * world.sigma
    known = None
    if world.listings is not None or world.covariate:  # 70 % of the variance is the listing's
        count = world.listings or units
        level = rng.normal(size=(experiments, count)) * world.sigma
        level = np.tile(level, math.ceil(units / count))[:, :units]
        log = math.sqrt(0.3) * log + math.sqrt(0.7) * level
        known = np.exp(level) if world.covariate else None
    profit = np.exp(log) * shown
    if world.conversion < 1:
        profit *= rng.random(shape) < world.conversion
    return Data(profit, shown, treated, known)


def batches(
    world: World, seed: int, experiments: int, units: int
) -> Iterator[tuple[Data, np.random.Generator]]:
    rng = np.random.default_rng(seed)
    for start in range(0, experiments, BATCH):
        yield throw(world, rng, min(BATCH, experiments - start), units), rng


# The rules under comparison: whether they ever alarm, and after how many units.
# All take (data, share, effect) and give bool (experiments, units).


def ours(data: Data, share: float, effect: float = 0.0) -> NDArray[np.bool_]:
    evidence = log_evidence(
        data.profit, data.impressions, data.treated, share,
        effect=effect, covariate=data.covariate, alpha=ALPHA,
    )  # fmt: skip
    return evidence >= math.log(1 / ALPHA)


def asymptotic(data: Data, share: float, effect: float = 0.0, start: int = 2) -> NDArray[np.bool_]:
    """Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, theorem 2.2, on the same scores."""
    net = data.profit - effect * data.treated * data.impressions
    score = (data.treated - share) * leftover(net, data.impressions, data.covariate)
    n = np.arange(1, score.shape[1] + 1)
    mean = score.cumsum(1) / n
    deviation = np.sqrt(np.maximum((score**2).cumsum(1) / n - mean**2, 0.0))
    rate = n * tightness(ALPHA) / TIGHTEST_AT + 1  # n ρ² + 1
    radius = deviation * np.sqrt(2 * rate / (n * (rate - 1)) * np.log(np.sqrt(rate) / ALPHA))
    alarm = np.abs(mean) > radius
    alarm[:, : start - 1] = False
    return alarm


def t_statistic(data: Data, effect: float = 0.0) -> Floats:
    """Delta-method statistic after every unit, (experiments, units); nan before two in each arm."""
    errors, ratios = 0.0, []
    with np.errstate(divide="ignore", invalid="ignore"):
        for side in (data.treated, ~data.treated):
            y, shown = data.profit * side, data.impressions * side
            count, total = side.cumsum(1), shown.cumsum(1)
            ratio = y.cumsum(1) / total
            square = (y * y).cumsum(1) - 2 * ratio * (y * shown).cumsum(1)
            square += ratio**2 * (shown * shown).cumsum(1)
            errors = errors + np.maximum(square, 0.0) * count / (count - 1) / total**2
            ratios.append(ratio)
        return np.asarray((ratios[0] - ratios[1] - effect) / np.sqrt(errors))


def false_alarms(world: World, seed: int, experiments: int) -> dict[str, float]:
    """Share of experiments without any effect in which each rule ever says there is one."""
    counts = dict.fromkeys(
        ("sequence", "asymptotic", "asymptotic from 100", "t each unit", "t once"), 0
    )
    for data, _ in batches(world, seed, experiments, UNITS):
        loose = asymptotic(data, world.share)
        t = np.abs(t_statistic(data)) > 1.96
        counts["sequence"] += int(ours(data, world.share).any(1).sum())
        counts["asymptotic"] += int(loose.any(1).sum())
        counts["asymptotic from 100"] += int(loose[:, 99:].any(1).sum())
        counts["t each unit"] += int(t[:, 19:].any(1).sum())
        counts["t once"] += int(t[:, -1].sum())
    return {name: count / experiments for name, count in counts.items()}


def proportional(lift: float) -> Callable[[Data, np.random.Generator], Data]:
    def change(data: Data, rng: np.random.Generator) -> Data:
        profit = data.profit * (1 + lift * data.treated)
        return Data(profit, data.impressions, data.treated, data.covariate)

    return change


def fewer_but_dearer(data: Data, rng: np.random.Generator) -> Data:
    """Half the sales at twice the profit: the same mean, another distribution."""
    kept = 2.0 * (rng.random(data.profit.shape) < 0.5)
    profit = np.where(data.treated, data.profit * kept, data.profit)
    return Data(profit, data.impressions, data.treated, data.covariate)


def misses(
    world: World,
    change: Callable[[Data, np.random.Generator], Data],
    effect: float,
    seed: int,
    experiments: int,
) -> dict[str, float]:
    """Share of experiments in which an interval ever excludes the true effect."""
    counts = dict.fromkeys(("sequence", "asymptotic", "t once"), 0)
    for drawn, rng in batches(world, seed, experiments, UNITS):
        data = change(drawn, rng)
        counts["sequence"] += int(ours(data, world.share, effect).any(1).sum())
        counts["asymptotic"] += int(asymptotic(data, world.share, effect).any(1).sum())
        counts["t once"] += int((np.abs(t_statistic(data, effect)[:, -1]) > 1.96).sum())
    return {name: count / experiments for name, count in counts.items()}


def power(world: World, lift: float, units: int, seed: int, experiments: int) -> dict[str, float]:
    found = once = stopped = 0.0
    for drawn, rng in batches(world, seed, experiments, units):
        data = proportional(lift)(drawn, rng)
        alarm = ours(data, world.share)
        hit = alarm.any(1)
        found += hit.sum()
        stopped += np.where(hit, alarm.argmax(1) + 1, units).sum()
        once += (np.abs(t_statistic(data)[:, -1]) > 1.96).sum()
    return {
        "sequence": found / experiments,
        "t once": once / experiments,
        "mean stop": stopped / experiments,
    }


def sample_ratio_alarms(share: float, drawn: float, seed: int, experiments: int) -> float:
    """Share of experiments in which the running sample-ratio test ever alarms."""
    rng, alarms = np.random.default_rng(seed), 0
    for start in range(0, experiments, BATCH):
        treated = rng.random((min(BATCH, experiments - start), UNITS)) < drawn
        counts = np.stack([treated.cumsum(1), (~treated).cumsum(1)], -1)
        evidence = sample_ratio.log_evidence(counts, np.array([share, 1 - share]))
        alarms += int((evidence >= math.log(1 / ALPHA)).any(1).sum())
    return alarms / experiments


NULLS = {
    "log-normal, sigma 1": World(1.0),
    "log-normal, sigma 1.5": World(1.5),
    "log-normal, sigma 2": World(2.0),
    "4 % conversion, sigma 1": World(1.0, conversion=0.04),
    "4 % conversion, sigma 1.5": World(1.5, conversion=0.04),
    "unequal impressions, sigma 1.5": World(1.5, impressions=20.0),
    "100 listings x 20 days, sigma 1.5": World(1.5, listings=100),
    "20 : 80 shares, sigma 1.5": World(1.5, share=0.2),
    "covariate, sigma 1.5": World(1.5, covariate=True),
}
COVERAGE: list[tuple[str, World, Callable[[Data, np.random.Generator], Data], float]] = [
    ("+20 %, sigma 1", World(1.0), proportional(0.2), 0.2 * math.exp(0.5)),
    ("+50 %, sigma 1.5", World(1.5), proportional(0.5), 0.5 * math.exp(1.125)),
    ("+50 %, sigma 2", World(2.0), proportional(0.5), 0.5 * math.exp(2)),
    ("+200 %, sigma 2", World(2.0), proportional(2.0), 2.0 * math.exp(2)),
    ("+50 %, 4 % conversion, sigma 1", World(1, 0.04), proportional(0.5), 0.02 * math.exp(0.5)),
    ("half the sales, twice the profit, 4 %", World(1.0, 0.04), fewer_but_dearer, 0.0),
    ("half the sales, twice the profit, 50 %", World(1.0, 0.5), fewer_but_dearer, 0.0),
]
EFFECTS: list[tuple[str, World, int, tuple[float, ...]]] = [
    ("log-normal, sigma 1", World(1.0), 4000, (0.1, 0.2, 0.4)),
    ("log-normal, sigma 1.5", World(1.5), 8000, (0.2, 0.4, 0.8)),
    ("log-normal, sigma 1.5, covariate", World(1.5, covariate=True), 8000, (0.2, 0.4, 0.8)),
    ("4 % conversion, sigma 1", World(1.0, 0.04), 8000, (0.5, 1.0, 2.0)),
]


def show(title: str, rows: list[dict[str, object]]) -> None:
    print(f"\n{title}")
    names = list(rows[0])
    print(f"{names[0]:<40}" + "".join(f"{name:>21}" for name in names[1:]))
    for row in rows:
        cells = (f"{v:>21.4f}" if isinstance(v, float) and v <= 1 else f"{v:>21.0f}"
                 for v in list(row.values())[1:])  # fmt: skip
        print(f"{row[names[0]]!s:<40}" + "".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiments", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    n, seed, start = given.experiments, given.seed, time.perf_counter()
    print(f"{n} experiments a row, {UNITS} units each, looked at after every unit, alpha {ALPHA}")
    alarms: list[dict[str, object]] = [
        {"no effect": name, **false_alarms(world, seed, n)} for name, world in NULLS.items()
    ]
    show("False alarms", alarms)
    missed: list[dict[str, object]] = [
        {"effect": name, **misses(world, change, effect, seed, n)}
        for name, world, change, effect in COVERAGE
    ]
    show("True effect ever outside the interval", missed)
    ratios: list[dict[str, object]] = [
        {"planned 50 %, drawn": f"{drawn:.0%}", "alarms": sample_ratio_alarms(0.5, drawn, seed, n)}
        for drawn in (0.5, 0.53, 0.55)
    ]
    show("Sample-ratio test", ratios)
    few = max(n // 10, 1)
    powers: list[dict[str, object]] = [
        {"world": f"{name}: +{lift:.0%}", "units": units,
         **power(world, lift, units, seed, few)}
        for name, world, units, lifts in EFFECTS for lift in lifts
    ]  # fmt: skip
    show(f"Power, {few} experiments a row", powers)
    print(f"\n{time.perf_counter() - start:.0f} s")
    if given.json:
        with open(given.json, "w") as file:
            json.dump(
                {"experiments": n, "units": UNITS, "alpha": ALPHA, "seed": seed,
                 "false_alarms": alarms, "misses": missed,
                 "sample_ratio": ratios, "power": powers},
                file, indent=1,
            )  # fmt: skip


if __name__ == "__main__":
    main()
