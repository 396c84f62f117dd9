"""How well a new listing's price is guessed from its text, with and without the amounts it states.

Run: python benchmarks/guesses.py TABLE [--adapter FOLDER] [--lines 5]
TABLE: Online Retail, a table of sales or a list of products with prices. Five folds by product
group, of products with so many sales lines (--lines 0: of all). The policy's own guess (ten nearest
neighbours of other groups, and words) is fitted to four folds and asked for the fifth: R² and root
mean square error of the log of the median price, and the mean negative log likelihood.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from adapter import folds_of, judged_of
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from bandits import GuessModel, Sources, amounts, word_ids
from encoders import Encoder
from finetune import read_products
from finetune.products import KNOWN_LINES
from markets.texts import nearest

NEIGHBOURS = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--adapter", help="one that has not seen these products")
    parser.add_argument("--lines", type=int, default=KNOWN_LINES)
    given = parser.parse_args()
    products = read_products(given.table)
    judged = judged_of(products, given.lines)
    price = products.median_log_price
    group = np.unique(products.group.astype(str), return_inverse=True)[1]
    vectors = Encoder(adapter=given.adapter).encode(products.text)
    words, amount = word_ids(products.text), amounts(products.text).astype(np.float64)
    print(f"{judged.sum()} products; amounts stated by {(~np.isnan(amount[judged])).mean(0)}")
    silent = np.full(len(products), np.nan)
    for name in ("as it is", "without amounts"):
        guess, sd = silent.copy(), silent.copy()
        for held in folds_of(products, judged, 5):
            known, asked = judged & ~held, np.flatnonzero(judged & held)
            rows, cosine = nearest(vectors, known, NEIGHBOURS, group)
            charged = np.where(known, price, np.nan)
            near, near_cost = charged[rows], np.full(rows.shape, np.nan)
            sources = Sources(
                charged, silent, near, near_cost, cosine, words, amount, amount[rows], group
            )
            if name != "as it is":
                sources = replace(sources, amount=None, neighbour_amount=None)
            model = GuessModel.fit(sources.take(known))
            guess[asked], sd[asked] = model.guess(sources.take(asked))
        report(name, guess[judged], sd[judged], price[judged])


def report(
    name: str,
    guess: NDArray[np.float64],
    sd: NDArray[np.float64],
    price: NDArray[np.float64],
) -> None:
    """Print how far guesses are off, (n,) each."""
    off = guess - price
    nll = (np.log(sd) + 0.5 * (off / sd) ** 2).mean()
    rmse = np.sqrt((off**2).mean())
    r2 = r2_score(price, guess)
    print(f"{name:16} R² {r2:.3f}   RMSE {rmse:.3f}   NLL {nll:+.3f}", flush=True)


if __name__ == "__main__":
    main()
