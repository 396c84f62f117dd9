"""Time per listing and day of the vectorised environments, beside a loop over the scalar one.

Run: python benchmarks/environments.py [--listings 10000] [--rounds 9] [--market CostOnly]
     [--json FILE]

Both run in one process, a few days of one and then of the other in every round, under the same
actions drawn in advance; seasons begun again are not timed. A row has the median over rounds of
each time and of their ratio, and the lowest ratio of a round. A group of substitutes counts as
one listing in both. Memory is what numpy holds for an environment after its season, at its most
over a day, less what the catalogue takes.
"""

import argparse
import json
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np

from markets import MARKETS, ListingEnv, ListingVectorEnv

BAR = 200
SCALAR_DAYS, VECTOR_DAYS = 100, 10


def timed(step: Callable[[int], tuple[Any, ...]], begin: Callable[[], object], days: int) -> float:
    """Seconds a day; what begins again when a season is over is left out."""
    spent = 0.0
    for day in range(days):
        start = time.perf_counter()
        _, _, terminated, truncated, _ = step(day)
        spent += time.perf_counter() - start
        if np.any(terminated) or np.any(truncated):
            begin()
    return spent / days


def ratios(name: str, listings: int, rounds: int) -> dict[str, Any]:
    many, one = ListingVectorEnv(listings, **MARKETS[name]), ListingEnv(**MARKETS[name])
    actions = np.random.default_rng(0).integers(0, 16, (VECTOR_DAYS, *many.action_space.shape))
    many.reset(seed=0)
    one.reset(seed=0)
    vector, scalar = [], []
    for _ in range(rounds + 1):
        loop = timed(lambda day: one.step(actions[day % VECTOR_DAYS][0]), one.reset, SCALAR_DAYS)
        vector.append(timed(lambda day: many.step(actions[day]), many.reset, VECTOR_DAYS))
        scalar.append(loop)
    # the first round warms up
    each = [s / (v / listings) for s, v in zip(scalar[1:], vector[1:], strict=True)]
    return {
        "market": name,
        "scalar_us": 1e6 * median(scalar[1:]),
        "vector_us": 1e6 * median(vector[1:]) / listings,
        "ratio": median(each),
        "lowest": min(each),
        "bytes_per_listing": memory(name, listings),
    }


def memory(name: str, listings: int) -> float:
    ListingEnv(**MARKETS[name])  # the catalogue, shared by all
    tracemalloc.start()
    try:
        many = ListingVectorEnv(listings, **MARKETS[name])
        many.reset(seed=0)
        actions = np.zeros(many.action_space.shape, np.int64)
        over = False
        while not over:
            _, _, terminated, truncated, _ = many.step(actions)
            over = bool(np.any(terminated | truncated))
        return tracemalloc.get_traced_memory()[1] / listings
    finally:
        tracemalloc.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listings", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--market", choices=MARKETS, action="append")
    parser.add_argument("--json")
    given = parser.parse_args()
    print(f"{given.listings} listings a step against one, {given.rounds} rounds")
    head = ("scalar us", "vector us", "ratio", "lowest", "bytes")
    print(f"{'market':>15}" + "".join(f"{name:>11}" for name in head))
    found = []
    for name in given.market or MARKETS:
        row = ratios(name, given.listings, given.rounds)
        found.append(row)
        print(
            f"{name:>15}{row['scalar_us']:11.0f}{row['vector_us']:11.3f}{row['ratio']:11.0f}"
            f"{row['lowest']:11.0f}{row['bytes_per_listing']:11.0f}",
            flush=True,
        )
    for row in found:
        if row["market"] == "CostOnly":
            verdict = "reached" if row["ratio"] >= BAR else "missed"
            print(f"CostOnly, bar of {BAR}: {verdict}")
    if given.json:
        with open(given.json, "w") as file:
            json.dump({"listings": given.listings, "rounds": given.rounds, "rows": found}, file)


if __name__ == "__main__":
    main()
