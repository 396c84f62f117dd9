"""Stock of 10 to 50 units, 30 days, demand learned from 200 similar listings: who earns what share?

The benchmark's inventory scenario with 200 known listings of the same catalogue, priced for 20 days
before 200 new ones arrive with stock and a last day. A share is takings over those of one who knows
the demand and follows the exact programme. The bar: 97 % of it, and above `fitted-programme`.

    python benchmarks/inventory.py --data online_retail.parquet --seeds 10

Texts are embedded as `pricebandit benchmark` does, or read with `--vectors` (float32 (n, d) in
.npy, in the order of the listings). Without `--data` the shipped catalogue is used; `--scenario
memory` holds the scenario of remembered prices instead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy import stats

from evaluation.benchmark import Outcome
from evaluation.benchmark import run as run_trials
from evaluation.sellers import SELLERS
from service.benchmark import run
from service.benchmark_plan import Asked, plan
from service.settings import Settings

SELLERS_HERE = "bayes-programme,fitted-programme,deep-q,actor-critic,pricebandit"
BAR, AGAINST = 0.97, "fitted-programme"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--sellers", default=SELLERS_HERE)
    parser.add_argument("--regimes", default="reference,cost")
    parser.add_argument("--scenario", default="inventory")
    parser.add_argument("--known", type=int, default=200)
    parser.add_argument("--new", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    planned = plan(
        Asked(
            data=given.data,
            policies=given.sellers,
            regimes=given.regimes,
            scenarios=given.scenario,
            seeds=given.seeds,
            known=given.known,
            new=given.new,
        )
    )
    if given.vectors:
        sellers = {name: SELLERS[name] for name in planned.sellers}
        vectors = np.load(given.vectors)
        terms = (planned.history, vectors, planned.markets, sellers, planned.seeds)
        outcome = run_trials(*terms, given.jobs, said)
    else:
        outcome = run(planned, Settings(), given.jobs, sys.argv, said).outcome
    for market in planned.markets:
        print(f"\n{market}: per cent of the clairvoyant, mean of seeds with 95 % interval")
        report(outcome, market, planned.sellers)
    for failure in outcome.failures:
        print(f"failed: {failure.trial}: {failure.error}")


def report(outcome: Outcome, market: str, sellers: tuple[str, ...]) -> None:
    shares = {name: outcome.of(market, name) for name in sellers}
    for name, held in shares.items():
        if not held:
            continue
        share = np.array([result.share for result in held.values()])
        line = (
            f"{name:17} {spread(100 * share)}  missing to the bar {100 * (BAR - share.mean()):5.2f}"
        )
        rival = shares.get(AGAINST, {})
        both = [seed for seed in held if seed in rival]
        if both and name != AGAINST:
            ahead = [held[seed].share - rival[seed].share for seed in both]
            line += f"  minus {AGAINST} {spread(100 * np.array(ahead))}"
        seconds = np.mean([result.seconds for result in held.values()])
        print(f"{line}  {seconds:.0f} s")


def spread(values: np.ndarray) -> str:
    """Mean and half a 95 % interval of Student's."""
    if values.size < 2:
        return f"{values.mean():6.2f}        "
    half = stats.t.ppf(0.975, values.size - 1) * values.std(ddof=1) / values.size**0.5
    return f"{values.mean():6.2f} ± {half:4.2f}"


def said(what: str, done: int, total: int) -> None:
    print(f"\r{done}/{total} {what:60}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
