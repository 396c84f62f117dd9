"""What fine-tuning earns: new listings priced with an adapter, and with the frozen encoder.

Run: python benchmarks/adapter_money.py ONLINE_RETAIL_FILE [--seeds 10] [NAME=VALUE …]
For each seed an adapter is trained on the product families that the trial calls known, and on no
other. The same policy then prices the same new listings, before the same buyers, once with the
frozen encoder's vectors and once with the adapter's; profit (revenue where only text is known) of
the first seven days is compared seed by seed. NAME=VALUE are choices of the recipe, e.g. layers=3.
Vectors are kept in --work and not made again.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from adapter import chosen
from numpy.typing import NDArray
from scipy.stats import t as student

from encoders import Encoder, listing_texts
from evaluation.sellers import SELLERS
from evaluation.stage import Market, stage
from evaluation.trial import hold
from finetune import Hardware, read_products, tune
from finetune.tuning import WEIGHTS
from markets import Conditions, History, read_online_retail

KNOWN_SHARE, DAYS = 0.8, 7
COLUMNS = ("title", "description", "category", "brand")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sales", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--regimes", default="cost,text")
    parser.add_argument("--work", type=Path, default=Path("build/adapter_money"))
    parser.add_argument("choices", nargs="*", metavar="NAME=VALUE")
    given = parser.parse_intermixed_args()
    history = read_online_retail(given.sales)
    texts = listing_texts(*(history.listings[name].to_list() for name in COLUMNS))
    base = Encoder().encode(texts)
    regimes = given.regimes.split(",")
    earned: dict[str, list[tuple[float, float, float]]] = {regime: [] for regime in regimes}
    for seed in range(given.seeds):
        start = time.monotonic()
        tuned = vectors_of(history, texts, seed, given)
        trained = time.monotonic() - start
        for regime in regimes:
            market = Market(regime, conditions=Conditions(days=DAYS), known_share=KNOWN_SHARE)
            frozen, adapted = (
                hold(stage(history, vectors, market, seed, seen), SELLERS["pricebandit"])
                for vectors, seen in ((base, None), tuned)
            )
            earned[regime].append((frozen.gain.sum(), adapted.gain.sum(), frozen.best.sum()))
            a, b, best = earned[regime][-1]
            print(f"seed {seed}, {regime}: {a / best:.4f} → {b / best:.4f}", flush=True)
        print(f"  adapter {trained:.0f} s, all {time.monotonic() - start:.0f} s", flush=True)
    for regime, rows in earned.items():
        report(regime, np.array(rows))


def vectors_of(
    history: History, texts: list[str], seed: int, given: argparse.Namespace
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Vectors of all listings, (n, d), by an adapter that has seen known families alone, and which
    listings it was fitted to, (n,).
    """
    folder = given.work / "-".join([given.sales.stem, *sorted(given.choices), f"s{seed}"])
    kept = folder / "vectors.npy"
    if not (folder / WEIGHTS).exists():
        recipe, augmentation = chosen(given.choices)
        families = set(history.split(KNOWN_SHARE, seed)[0].listings["family_group"])
        products = read_products(given.sales)
        mask = np.array([group in families for group in products.group])
        tune(
            products.take(mask),
            folder,
            replace(recipe, seed=seed),
            augmentation,
            hardware=Hardware(cpu=True),
        )
    encoder = Encoder(adapter=str(folder))
    if not kept.exists():
        np.save(kept, encoder.encode(texts))
    return np.load(kept), encoder.trained_on(texts)


def report(regime: str, rows: NDArray[np.float64]) -> None:
    """Print what was earned, and the lift with its interval over seeds."""
    frozen, adapted, best = rows.T
    print(
        f"{regime}: share of the clairvoyant's first {DAYS} days {np.mean(frozen / best):.4f} "
        f"frozen, {np.mean(adapted / best):.4f} fine-tuned"
    )
    lift = adapted / frozen - 1
    reach = student.ppf(0.975, len(lift) - 1) * lift.std(ddof=1) / np.sqrt(len(lift))
    print(
        f"  lift {lift.mean():+.2%} ({lift.mean() - reach:+.2%} … {lift.mean() + reach:+.2%}), "
        f"paired over {len(lift)} seeds"
    )


if __name__ == "__main__":
    main()
