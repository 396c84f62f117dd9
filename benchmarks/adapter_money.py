"""What fine-tuning earns: new listings priced with an adapter, and with the frozen encoder.

Run: python benchmarks/adapter_money.py ONLINE_RETAIL_FILE [--folds 5] [NAME=VALUE …]
An adapter is trained for each fold of product groups, on the other folds alone. Of the fold, one
half of the groups stands among the known listings, as what training held out does; the other is
new. Then the halves change places: every listing is new once. The same policy prices the same new
listings, before the same buyers, once with the frozen encoder's vectors and once with the
adapter's; profit (revenue where only text is known) of the first seven days is compared split by
split, over --repeats draws of buyers. Listings that sold less than five times, in groups of their
own, are known throughout. NAME=VALUE are choices of the recipe. Adapters are those of
benchmarks/adapter.py in the same --work, and not trained again.
"""

from collections.abc import Sequence

import numpy as np
from adapter import chosen, folds_of, judged_of, questions, vectors_of
from numpy.typing import NDArray
from scipy.stats import t as student

from encoders import Encoder
from evaluation.sellers import SELLERS
from evaluation.stage import Market, between
from evaluation.trial import hold
from finetune import read_products
from finetune.products import KNOWN_LINES
from markets import Conditions, History, Regime, read_online_retail

DAYS = 7


def main() -> None:
    parser = questions(__doc__)
    parser.add_argument("--repeats", type=int, default=1, help="draws of buyers for each split")
    parser.add_argument("--regimes", default="cost,text")
    given = parser.parse_intermixed_args()
    given.init_adapter = None
    recipe, augmentation = chosen(given.choices, held_out=0.0)
    history, products = read_online_retail(given.table), read_products(given.table)
    listings = history.listings["listing_id"].to_list()
    row_of = {name: row for row, name in enumerate(products.listing_id)}
    rows = np.array([row_of[name] for name in listings])
    base = Encoder(given.base).encode(products.text)[rows]
    group = products.group.astype(str)
    regimes = given.regimes.split(",")
    earned: dict[str, list[NDArray[np.float64]]] = {regime: [] for regime in regimes}
    folds = folds_of(products, judged_of(products, KNOWN_LINES), given.folds)
    for fold, held in enumerate(folds[: given.only]):
        tuned = vectors_of(products, held, recipe, augmentation, given, (0, fold))[rows]
        for half, new in enumerate(halves(group, held, fold)):
            split = np.flatnonzero(~new[rows]), np.flatnonzero(new[rows])
            spaces = (base, None), (tuned, ~held[rows])
            for regime in regimes:
                sums = np.zeros(3)
                for repeat in range(given.repeats):
                    seed = 2 * (repeat * given.folds + fold) + half
                    sums += earnings(history, regime, seed, split, spaces)
                earned[regime].append(sums)
                print(
                    f"fold {fold}, half {half}, {regime}: {sums[0] / sums[2]:.4f} → "
                    f"{sums[1] / sums[2]:.4f} of the clairvoyant's",
                    flush=True,
                )
    for regime, trials in earned.items():
        report(regime, np.array(trials))


def earnings(
    history: History,
    regime: Regime,
    seed: int,
    split: tuple[NDArray[np.int64], NDArray[np.int64]],
    spaces: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_] | None]],
) -> NDArray[np.float64]:
    """What is earned in each space, and a clairvoyant's, currency units, (spaces + 1,).

    Args:
        split: rows of known and of new listings.
        spaces: vectors of all listings, and which they were fitted to.
    """
    market = Market(regime, conditions=Conditions(days=DAYS))
    results = [
        hold(between(history, vectors, market, seed, *split, seen), SELLERS["pricebandit"])
        for vectors, seen in spaces
    ]
    return np.array([*(result.gain.sum() for result in results), results[0].best.sum()])


def halves(group: NDArray[np.str_], held: NDArray[np.bool_], seed: int) -> list[NDArray[np.bool_]]:
    """Two halves of what is held out, bool (n,) each; no group stands in both."""
    names = np.random.default_rng(seed).permutation(np.unique(group[held]))
    first = held & np.isin(group, names[: len(names) // 2])
    return [first, held & ~first]


def report(regime: str, trials: NDArray[np.float64]) -> None:
    """Print what was earned, and the lift with its interval over trials."""
    frozen, adapted, best = trials.T
    print(
        f"{regime}: share of the clairvoyant's first {DAYS} days {np.mean(frozen / best):.4f} "
        f"frozen, {np.mean(adapted / best):.4f} fine-tuned"
    )
    lift = adapted / frozen - 1
    reach = student.ppf(0.975, len(lift) - 1) * lift.std(ddof=1) / np.sqrt(len(lift))
    print(
        f"  lift {lift.mean():+.2%} ({lift.mean() - reach:+.2%} … {lift.mean() + reach:+.2%}), "
        f"paired over {len(lift)} trials"
    )


if __name__ == "__main__":
    main()
