"""What fine-tuning adds on product groups never seen, beside TF-IDF and the frozen encoder.

Run: python benchmarks/adapter.py TABLE [--folds 5] [--seeds 1] [NAME=VALUE …]
TABLE: Online Retail, a table of sales or a list of products with prices. Folds are scikit-learn's
GroupKFold over the products that are judged, those with at least five sales lines, or --lines. For
each an adapter is trained on the other folds alone; ridge and ten neighbours are then fitted to the
same products and asked for the fold's, as are the mean of TF-IDF's guess and the neighbours' and,
of prices, the policy's own guess (of half the fold's groups while the other half is known, by which
it learns how far to trust vectors). R² is of the log of the median price and of the log of sales
lines. Gains over TF-IDF are paired, product by product, with 95 % intervals from a bootstrap over
groups. NAME=VALUE are choices of the recipe, e.g. epochs=8. Predictions are kept in --work and not
made again.
"""

import argparse
import json
import resource
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import r2_score

from encoders import DEFAULT_MODEL, Encoder
from evaluation.intervals import Ratio, bca
from finetune import Augmentation, Hardware, Recipe, grouped_folds, read_products, tune
from finetune.probes import by_neighbours, by_policy, by_ridge, by_words, in_halves
from finetune.products import KNOWN_LINES, Products
from finetune.tuning import WEIGHTS

BASELINE = "TF-IDF, ridge"
Found = dict[str, NDArray[np.float64]]


def judged_of(products: Products, lines: int) -> NDArray[np.bool_]:
    """Products with at least so many sales lines, or all if none has, bool (n,)."""
    enough: NDArray[np.bool_] = products.lines >= lines
    return enough if enough.any() else np.ones(len(products), np.bool_)


def folds_of(products: Products, judged: NDArray[np.bool_], count: int) -> list[NDArray[np.bool_]]:
    """Masks of the held-out products, bool (n,) each: groups of the judged ones, dealt in turn.

    A product that is not judged and in no group of one that is, is never held out.
    """
    group, rows = products.group.astype(str), np.flatnonzero(judged)
    folds = grouped_folds(group[rows].tolist(), count)
    return [np.asarray(np.isin(group, np.unique(group[rows[held]]))) for held in folds]


def targets(products: Products, judged: NDArray[np.bool_]) -> dict[str, NDArray[np.float64]]:
    """What is asked for, by name, (n,), NaN where it does not count."""
    sold = judged & (products.lines > 0)
    return {
        "log price": np.where(judged, products.median_log_price, np.nan),
        "log demand": np.log(np.where(sold, products.lines, np.nan)),
    }


def predictions(
    products: Products,
    wanted: dict[str, NDArray[np.float64]],
    vectors: dict[str, NDArray[np.float32]],
    held: NDArray[np.bool_],
) -> dict[str, Found]:
    """Target → method → predictions for the held-out products, (n,), NaN elsewhere."""
    found: dict[str, Found] = {}
    groups = products.group.astype(str).tolist()
    for name, target in wanted.items():
        known = ~np.isnan(target)
        train, test = known & ~held, known & held
        methods = {BASELINE: by_words(products.text, target, groups)}
        for which, rows in vectors.items():
            methods[f"{which}, ridge"] = by_ridge(rows, target, groups)
            methods[f"{which}, neighbours"] = by_neighbours(rows, target, groups)
        found[name] = {}
        for method, predict in methods.items():
            predicted = np.full(len(products), np.nan)
            predicted[test] = predict(train, test)
            found[name][method] = predicted
        for which in vectors:
            both = found[name][BASELINE] + found[name][f"{which}, neighbours"]
            found[name][f"{which}, and TF-IDF"] = both / 2
        if name != "log price":
            continue
        for which, rows in vectors.items():
            fitted = None if which == "base" else ~held
            policy = by_policy(products.text, rows, target, groups, fitted)
            guessed = np.full(len(products), np.nan)
            guessed[test] = in_halves(policy, train, test, groups)
            found[name][f"{which}, policy's guess"] = guessed
    return found


def questions(told: str | None) -> argparse.ArgumentParser:
    """What any benchmark of an adapter asks."""
    parser = argparse.ArgumentParser(
        description=told, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", type=int, help="folds to do of all, for a quicker look")
    parser.add_argument("--base", default=DEFAULT_MODEL, help="hub name or local folder")
    parser.add_argument("--precision", default="no", help="bf16: faster where the CPU knows it")
    parser.add_argument("--work", type=Path, default=Path("build/adapter"))
    parser.add_argument("choices", nargs="*", metavar="NAME=VALUE")
    return parser


def main() -> None:
    parser = questions(__doc__)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--init-adapter", type=Path)
    parser.add_argument("--lines", type=int, default=KNOWN_LINES, help="of a judged product")
    parser.add_argument("--most", type=int, help="products to take at most")
    given = parser.parse_intermixed_args()
    # nothing held out inside a fold: its figures are to be compared with TF-IDF's on all of it
    recipe, augmentation = chosen(given.choices, held_out=0.0)
    products = read_products(given.table)
    if given.most and given.most < len(products):
        groups = np.unique(products.group.astype(str))
        order = np.random.default_rng(0).permutation(len(groups))
        size = np.cumsum([(products.group.astype(str) == groups[g]).sum() for g in order])
        kept = set(groups[order[size <= given.most]])
        products = products.take([i for i, g in enumerate(products.group) if str(g) in kept])
    base = Encoder(given.base).encode(products.text)
    judged = judged_of(products, given.lines)
    wanted = targets(products, judged)
    folds = folds_of(products, judged, given.folds)[: given.only]
    runs: list[dict[str, Found]] = []
    for seed in range(given.seeds):
        merged: dict[str, Found] = {name: {} for name in wanted}
        for fold, held in enumerate(folds):
            start = time.monotonic()
            tuned = vectors_of(products, held, recipe, augmentation, given, (seed, fold))
            found = predictions(products, wanted, {"base": base, "tuned": tuned}, held)
            for name, methods in found.items():
                for method, predicted in methods.items():
                    whole = merged[name].setdefault(method, np.full(len(products), np.nan))
                    whole[held] = predicted[held]
            print(f"seed {seed}, fold {fold}: {time.monotonic() - start:.0f} s", flush=True)
        report(products, wanted, merged)
        runs.append(merged)
    if len(runs) > 1:
        for name, target in wanted.items():
            for method in runs[0][name]:
                every = [score(run[name][method], target) for run in runs]
                print(f"{name:12} {method:22} over seeds {np.round(every, 3).tolist()}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def chosen(choices: list[str], **usual: Any) -> tuple[Recipe, Augmentation]:
    """The recipe and augmentation that NAME=VALUE ask for, and `usual` where they do not."""
    of_recipe: dict[str, Any] = dict(usual)
    of_words: dict[str, float] = {}
    kinds = {f.name: f.type for f in fields(Recipe)}
    for choice in choices:
        name, value = choice.split("=", 1)
        if name not in kinds:
            of_words[name] = float(value)
        elif "tuple" in str(kinds[name]):
            of_recipe[name] = tuple(value.split(","))
        elif kinds[name] == "bool":
            of_recipe[name] = value == "True"
        else:
            of_recipe[name] = int(value) if kinds[name] == "int" else float(value)
    return Recipe(**of_recipe), Augmentation(**of_words)


def vectors_of(
    products: Products,
    held: NDArray[np.bool_],
    recipe: Recipe,
    augmentation: Augmentation,
    given: argparse.Namespace,
    run: tuple[int, int],
) -> NDArray[np.float32]:
    """Vectors (n, d) by an adapter that has not seen the held-out products.

    Args:
        run: seed and number of the fold, by which it is found again in `given.work`.
    """
    seed, fold = run
    base = [] if given.base == DEFAULT_MODEL else [Path(given.base).name]
    name = "-".join([given.table.stem, *base, *sorted(given.choices), f"s{seed}", f"f{fold}"])
    folder = given.work / name.replace("/", "_").replace(" ", "_")
    kept = folder / "vectors.npy"
    if kept.exists():
        return np.asarray(np.load(kept))
    if not (folder / WEIGHTS).exists():
        found = tune(
            products.take(~held),
            folder,
            replace(recipe, seed=seed),
            augmentation,
            base=given.base,
            init=given.init_adapter,
            hardware=Hardware(cpu=True, precision=given.precision),
        )
        size = (folder / WEIGHTS).stat().st_size
        told = {
            "seconds": round(found.seconds),
            "texts": found.learned,
            "epochs": len(found.epochs),
            "trainable": round(found.trainable, 4),
            "MB": round(size / 1e6, 2),
            "meaning kept": round(found.judgement.kept, 3),
            "hostile reach": round(max(found.judgement.takeover.reach.values()), 4),
            "usual reach": round(found.judgement.takeover.usual, 4),
        }
        print(json.dumps(told), flush=True)
    vectors = Encoder(given.base, adapter=str(folder)).encode(products.text)
    np.save(kept, vectors)
    return vectors


def score(predicted: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    """R² where both are known."""
    there = ~np.isnan(predicted + target)
    return float(r2_score(target[there], predicted[there]))


def report(
    products: Products, wanted: dict[str, NDArray[np.float64]], found: dict[str, Found]
) -> None:
    """Print R² and what each method gains on TF-IDF."""
    groups = np.unique(products.group.astype(str), return_inverse=True)[1]
    for name, target in wanted.items():
        there = ~np.isnan(target + found[name][BASELINE])
        y = target[there]
        print(f"{name}: {there.sum()} products")
        errors = {m: (p[there] - y) ** 2 for m, p in found[name].items()}
        for method, predicted in found[name].items():
            gain = bca(
                [Ratio(errors[BASELINE] - errors[method], np.full(len(y), y.var()))],
                groups[there],
                0.95,
                0,
            )
            print(
                f"  {method:22} R² {score(predicted, target):.3f}   "
                f"over TF-IDF {gain.value:+.3f} ({gain.low:+.3f} … {gain.high:+.3f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
