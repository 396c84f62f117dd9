"""What a first day can bring: the best first prices of one who knows how buyers are drawn.

Run: python benchmarks/first_day.py ONLINE_RETAIL_FILE [--seeds 5] [--draws 100]
In the benchmark's reference regime, before anything has been sold, each new listing gets the price
with the highest expected profit over draws of its buyers from the very distributions that they are
drawn from. The second row besides knows how elastic the buyers of all other listings are that the
market holds to be similar to it. No policy can know more on a first day than the second row does:
up to chance, what it earns bounds what any policy may be asked for.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evaluation.stage import Market
from markets import Buyers, Calendar, History, read_online_retail
from markets.texts import clusters, text_vectors

LADDER = np.exp(np.linspace(-0.8, 1.3, 90))  # prices, in multiples of the recorded one


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--draws", type=int, default=100)
    given = parser.parse_args()
    history = read_online_retail(given.table)
    group = clusters(text_vectors(history.listings["title"].to_list()))
    shares = np.array(
        [shares_of(history, group, seed, given.draws) for seed in range(1, given.seeds + 1)]
    )
    names = "how buyers are drawn", "and the elasticities of similar listings"
    for name, share in zip(names, shares.T, strict=True):
        print(f"{name:42} {share.mean():.3f}   by seed {np.round(share, 3).tolist()}")


def shares_of(
    history: History, group: NDArray[np.int64], seed: int, draws: int
) -> tuple[float, float]:
    """Shares of the clairvoyant's profit on the first day of a seed's listings."""
    market = Market("reference")
    buyers = Buyers.from_history(
        history, seed, families=market.families, text_share=market.text_share
    )
    calendar = Calendar.from_history(history)
    shown = buyers.mean_impressions * calendar.factor(calendar.arrival)
    best = (buyers.profit_per_impression(buyers.clairvoyant()) * shown).sum()
    prices = buyers.recorded_price[:, None] * LADDER
    rng = np.random.default_rng((seed, 1))
    alone, beside = np.zeros(prices.shape), np.zeros(prices.shape)
    for draw in range(draws):
        # spread and families as the market's; which listing has which is drawn anew
        drawn = Buyers.from_history(history, 1000 + draw, families=market.families)
        alone += drawn.units_per_impression(prices)
        alike = replace(drawn, elasticity=buyers.elasticity[mates(group, rng)])
        beside += alike.units_per_impression(prices)

    def share(demand: NDArray[np.float64]) -> float:
        chosen = ((prices - buyers.unit_cost[:, None]) * demand).argmax(axis=1)
        price = prices[np.arange(len(buyers)), chosen]
        return float((buyers.profit_per_impression(price) * shown).sum() / best)

    return share(alone), share(beside)


def mates(group: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Another listing of the same group for each, itself where it is alone, int64 (n,)."""
    order = np.lexsort((rng.random(len(group)), group))  # group by group, shuffled within
    numbers = group[order]
    first, end = (np.searchsorted(numbers, numbers, side) for side in ("left", "right"))
    after = np.arange(1, len(group) + 1)
    mate = np.empty(len(group), np.int64)
    mate[order] = order[np.where(after < end, after, first)]  # the next one, round its group
    return mate


if __name__ == "__main__":
    main()
