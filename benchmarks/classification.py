"""Classification sets as bandits: a row comes, an arm is chosen, 1 is earned if it is the class.

Run: python benchmarks/classification.py [--data FOLDER] [--sets digits,pendigits] [--seeds 5]
`--data` holds classification_{mushroom,pendigits,letter}.parquet; digits comes with scikit-learn.
One pass in random order, one decision at a time; only the chosen arm's reward is seen. Inputs are
divided by the range of their format and categories made indicators, before any label is looked at.
"""

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from bandits.disjoint import Disjoint
from bandits.linucb import LinearUCB
from bandits.trunk import Trunk, refold

SETS = ("digits", "mushroom", "pendigits", "letter")
RANGES = {"digits": 16.0, "pendigits": 100.0, "letter": 15.0}
RETRAIN_FROM = 500  # rows logged before the first trunk; another each time they have doubled
T_975 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 8: 2.36, 10: 2.26}


def load(name: str, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Inputs with a constant last, float32 (n, d), and classes 0 to K - 1, int64 (n,)."""
    if name == "digits":
        x, y = load_digits(return_X_y=True)
    else:
        if folder is None:
            raise SystemExit(f"{name} needs --data: the folder with classification_{name}.parquet")
        table = pl.read_parquet(folder / f"classification_{name}.parquet")
        y, inputs = table["class"].to_numpy(), table.drop("class")
        texts = [column for column, kind in inputs.schema.items() if kind == pl.String]
        x = (inputs.to_dummies(texts) if texts else inputs).to_numpy()
    x = np.column_stack([x / RANGES.get(name, 1.0), np.ones(len(x))])
    return x.astype(np.float32), np.unique(y, return_inverse=True)[1]


def uniform(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    arms = np.random.default_rng(seed).integers(0, y.max() + 1, len(y))
    return (arms == y).astype(float)


def disjoint(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Rewards (n,) of the head as it comes."""
    arms = int(y.max()) + 1
    bandit = Disjoint(LinearUCB(x.shape[1], groups=arms, dtype=torch.float32))
    rows, earned = torch.from_numpy(x), np.empty(len(x))
    for i in range(len(x)):
        arm = bandit.choose(rows[i : i + 1])
        earned[i] = int(arm) == y[i]
        bandit.learn(rows[i : i + 1], arm, torch.tensor([earned[i]]))
    return earned


def neural(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Rewards (n,) of the head on a trunk that is retrained each time the rows have doubled."""
    arms, rows = int(y.max()) + 1, torch.from_numpy(x)
    bandit = Disjoint(LinearUCB(x.shape[1], groups=arms, dtype=torch.float32))
    features: Callable[[torch.Tensor], torch.Tensor] = lambda row: row  # noqa: E731
    chosen, earned = torch.empty(len(x), dtype=torch.int64), torch.empty(len(x))
    retrain = RETRAIN_FROM
    for i in range(len(x)):
        seen = features(rows[i : i + 1])
        arm = bandit.choose(seen)
        chosen[i] = arm[0]
        earned[i] = float(int(arm) == y[i])
        bandit.learn(seen, arm, earned[i : i + 1])
        if i + 1 == retrain:
            past = slice(0, i + 1)
            trunk = Trunk.fit(rows[past], earned[past], group=chosen[past], seed=seed)
            bandit.head = refold(trunk, rows[past], earned[past], group=chosen[past], groups=arms)
            features, retrain = trunk.features, 2 * retrain
    return earned.double().numpy()


def mabwiser(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Rewards (n,) of mabwiser's LinUCB as it comes."""
    from mabwiser.mab import MAB, LearningPolicy

    peer = MAB(list(range(int(y.max()) + 1)), LearningPolicy.LinUCB(), seed=seed)
    earned = np.empty(len(x))
    for i in range(len(x)):
        row = x[i : i + 1]
        arm = peer.predict(row) if i else 0
        earned[i] = arm == y[i]
        (peer.partial_fit if i else peer.fit)([arm], [earned[i]], row)
    return earned


def ridge_of_all(x: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """Rewards (n,) of one told every label after its guess; refitted as rows grow by a tenth."""
    earned, classes, start = np.zeros(len(x)), np.eye(int(y.max()) + 1), 10
    while start < len(x):
        end = min(len(x), start + max(10, start // 10))
        model = Ridge(1.0).fit(x[:start], classes[y[:start]])
        earned[start:end] = model.predict(x[start:end]).argmax(1) == y[start:end]
        start = end
    return earned


BANDITS: dict[str, Callable[[np.ndarray, np.ndarray, int], np.ndarray]] = {
    "uniform": uniform,
    "disjoint LinUCB": disjoint,
    "NeuralLinear": neural,
    "mabwiser LinUCB": mabwiser,
    "ridge on all labels": ridge_of_all,
}


def interval(values: list[float]) -> str:
    """Mean and half the 95 % interval of few values."""
    if len(values) < 2:
        return f"{values[0]:,.3f}"
    half = T_975.get(len(values), 1.96) * np.std(values, ddof=1) / np.sqrt(len(values))
    return f"{np.mean(values):.3f} ± {half:.3f}"


def compare(name: str, folder: Path | None, seeds: int, rows: int, bandits: list[str]) -> list[Any]:
    """One line a bandit: mean reward, and regret (decisions less rewards) after all rows."""
    x, y = load(name, folder)
    lines = []
    for bandit in bandits:
        start, found = time.process_time(), []
        for seed in range(seeds):
            order = np.random.default_rng(seed).permutation(len(x))[:rows]
            found.append(BANDITS[bandit](x[order], y[order], seed).mean())
        n = len(order)
        lines.append({"set": name, "bandit": bandit, "rows": n, "reward": found})
        print(
            f"{name:>10} {bandit:>18} {n:>7,} {interval(found):>15} "
            f"{n * (1 - np.mean(found)):>9,.0f} {(time.process_time() - start) / seeds:>8.1f}",
            flush=True,
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sets", help="comma-separated; all that are at hand unless given")
    parser.add_argument("--bandits", default=",".join(BANDITS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000, help="at most, of each set")
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    sets = given.sets.split(",") if given.sets else SETS if given.data else ("digits",)
    bandits = given.bandits.split(",")
    if "mabwiser LinUCB" in bandits and find_spec("mabwiser") is None:
        print("mabwiser is not installed: left out (pip install 'pricebandit[bench]')")
        bandits.remove("mabwiser LinUCB")
    print(f"{'set':>10} {'bandit':>18} {'rows':>7} {'mean reward':>15} {'regret':>9} {'CPU s':>8}")
    lines = [
        line
        for name in sets
        for line in compare(name, given.data, given.seeds, given.rows, bandits)
    ]
    if given.json:
        Path(given.json).write_text(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
