"""What text is worth: regret in the first 100 impressions of new listings, with it and without.

As `pricebandit benchmark`: 1,500 known listings are priced for 20 days, then 400 new ones for 30.
The same policy is held three times before the same buyers: as it is, without embeddings (words
still say what they say of prices and elasticities), and without any text. Ratios of regrets are
over all seeds, with 95 % intervals of the mean ratio, paired by seed.

Run: python benchmarks/text_matters.py --data online_retail.parquet [--seeds 10]
"""

from dataclasses import replace

import numpy as np
import polars as pl
from scipy import stats
from simulated import planned, questions

from evaluation.sellers.pricebandit import PriceBandit
from evaluation.stage import Stage, stage
from evaluation.trial import hold
from markets import History, Knowledge

READERS = ("all text", "no embeddings", "no text")


def told(held: Stage, history: History, vectors: np.ndarray, reader: str) -> Stage:
    """The same market, to a seller that reads less."""
    if reader == "all text":
        return held
    if reader == "no text":
        blank = history.listings.with_columns(pl.lit("").alias("title"))
        history = replace(history, listings=blank)
    known, new = (np.isin(np.arange(len(held.buyers)), rows) for rows in (held.known, held.new))
    arms = held.knowledge.ladders.shape[1]
    regime, nothing = held.market.regime, np.zeros_like(vectors)
    knowledge = Knowledge.of(history, held.buyers, regime, nothing, known, new, arms)
    return replace(held, knowledge=knowledge)


def main() -> None:
    given = questions(__doc__, seeds=10).parse_args()
    held_on, vectors = planned(given, "pricebandit")
    for name, market in held_on.markets.items():
        regret = np.zeros((given.seeds, len(READERS)))
        share = np.zeros_like(regret)
        for i, seed in enumerate(held_on.seeds):
            held = stage(held_on.history, vectors, market, seed)
            for j, reader in enumerate(READERS):
                result = hold(told(held, held_on.history, vectors, reader), PriceBandit)
                regret[i, j] = 1 - result.first_gain / result.first_best
                share[i, j] = result.share
        for j, reader in enumerate(READERS):
            ratio = regret[:, 0] / regret[:, j]
            half = stats.t.ppf(0.975, len(ratio) - 1) * stats.sem(ratio) if len(ratio) > 1 else 0.0
            print(
                f"{name:>10}  {reader:14} regret {regret[:, j].mean():6.1%}  "
                f"with text over this {ratio.mean():.2f} ± {half:.2f}  "
                f"30 days {share[:, j].mean():.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
