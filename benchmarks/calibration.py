"""How often 90 % intervals of demand hold the truth, after 0, 10, 100 and 1,000 impressions.

As in `pricebandit benchmark`: 1,500 known listings are priced for 20 days, then the new ones, at
the policy's own prices, until each has had so many impressions; buyers are simulated, and what
they really would buy at the price charged is known.

Run: python benchmarks/calibration.py --data online_retail.parquet [--seeds 3]
"""

from copy import deepcopy
from dataclasses import replace

import numpy as np
from simulated import planned, questions

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.sellers.protocol import Today
from evaluation.stage import Stage, stage
from evaluation.trial import trade

STEPS = ((0, 0), (10, 10), (100, 10), (1000, 25))  # impressions, and days in which they come


def covered(held: Stage, seller: PriceBandit, impressions: int, days: int) -> float:
    """Share of new listings whose interval at the best price holds what buyers would buy."""
    warm = held.market.warm_days
    if days:
        shown = np.full(len(held.buyers), impressions / days)
        buyers = replace(held.buyers, mean_impressions=shown)
        trade(replace(held, buyers=buyers), seller, held.new, days, warm)
    n = held.new.size
    date = held.calendar.arrival[held.new] + days
    nothing = np.full(n, np.nan)
    today = Today(warm + days, held.new, date, 1, nothing, np.zeros(n, np.bool_), None)
    price, low, high = seller.intervals(today)
    truth = held.buyers.take(held.new).units_per_impression(price)
    return float(((low <= truth) & (truth <= high)).mean())


def main() -> None:
    given = questions(__doc__, seeds=3).parse_args()
    held_on, vectors = planned(given, "pricebandit")
    print(f"{given.seeds} seeds, share of intervals that hold the demand at the price charged")
    print(f"{'':>10}" + "".join(f"{n:>8,}" for n, _ in STEPS) + "  impressions")
    for name, market in held_on.markets.items():
        shares = np.zeros((given.seeds, len(STEPS)))
        for seed in range(given.seeds):
            held = stage(held_on.history, vectors, market, seed)
            seller = PriceBandit(held.knowledge, held.seed)
            trade(held, seller, held.known, market.warm_days, 0)
            shares[seed] = [covered(held, deepcopy(seller), *step) for step in STEPS]
        print(f"{name:>10}" + "".join(f"{x:>8.3f}" for x in shares.mean(0)), flush=True)


if __name__ == "__main__":
    main()
