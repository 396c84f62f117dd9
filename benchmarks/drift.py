"""The elasticity of a third of the listings halves on day 15: how soon is the profit share back?

As `pricebandit benchmark`: 1,500 known listings are priced for 20 days, then 400 new ones for 30.
The level is the mean share of the clairvoyant's profit on the five days before the turn.

Run: python benchmarks/drift.py --data online_retail.parquet [--seeds 10] [--policies pricebandit]
"""

from dataclasses import replace

import numpy as np
from scipy import stats
from simulated import planned, questions

from evaluation.sellers import SELLERS
from evaluation.stage import stage
from evaluation.trial import hold
from markets import Conditions

TURN, BEFORE, BAR = 15, 5, 0.95
SHOWN = (0, 1, 2, 3, 5, 7, 10, 14)  # days after the turn


def main() -> None:
    parser = questions(__doc__, seeds=10)
    parser.add_argument("--policies", default="pricebandit")
    given = parser.parse_args()
    held_on, vectors = planned(given, given.policies)
    print("share of the clairvoyant over its level before the turn, by days after it")
    print(f"{'':>28}   level" + "".join(f"{day:>7}" for day in SHOWN) + "   back above 95 % after")
    for name, market in held_on.markets.items():
        turning = replace(market, conditions=Conditions(turn_day=TURN))
        for policy in held_on.sellers:
            shares = []
            for seed in held_on.seeds:
                result = hold(stage(held_on.history, vectors, turning, seed), SELLERS[policy])
                shares.append(result.gain / result.best)
            report(f"{name} {policy}", np.array(shares))


def report(name: str, share: np.ndarray) -> None:
    """A line on shares (seeds, days)."""
    level = share[:, TURN - BEFORE : TURN].mean(axis=1)
    kept = share[:, TURN:] / level[:, None]  # (seeds, days)
    mean = kept.mean(axis=0)
    half = stats.t.ppf(0.975, len(kept) - 1) * stats.sem(kept[:, 7]) if len(kept) > 1 else np.nan
    below = np.flatnonzero(mean < BAR)
    back = 0 if not below.size else below[-1] + 1
    line = "".join(f"{x:7.3f}" for x in mean[list(SHOWN)])
    print(f"{name:>28} {level.mean():7.3f}{line}   {back} days; day 7 ± {half:.3f}", flush=True)


if __name__ == "__main__":
    main()
