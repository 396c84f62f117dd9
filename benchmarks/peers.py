"""Settings of the peers on small trials: a grid for each, the best one last.

Seeds are other than those of any reported figure. `--record` is a table that
`markets.read_online_retail` reads, `--vectors` its titles' embeddings, float32 (n, d) in .npy.

    python benchmarks/peers.py --record online_retail.parquet --vectors vectors.npy
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch

from evaluation.sellers.contextual_bandits import (
    BootstrappedTS,
    BootstrapSettings,
    LinTS,
    LinTSSettings,
)
from evaluation.sellers.mabwiser_linucb import LinUCB, LinUCBSettings
from evaluation.sellers.vowpal import Cats, CatsSettings, SquareCB, SquareCBSettings
from evaluation.stage import Market, stage
from evaluation.trial import hold
from markets import REGIMES, read_online_retail

SEEDS = (1000, 1001)
SMALL = {"known": 500, "new": 200, "warm_days": 10}


def grid(settings: Any, **values: tuple[Any, ...]) -> list[Any]:
    """Settings with every combination of the values."""
    return [
        settings(**dict(zip(values, chosen, strict=True))) for chosen in product(*values.values())
    ]


GRIDS: dict[str, tuple[Any, list[Any]]] = {
    "mabwiser-linucb": (
        LinUCB,
        grid(LinUCBSettings, alpha=(0.03, 0.1, 0.3, 1.0), l2_lambda=(1.0, 10.0))
        + grid(LinUCBSettings, alpha=(0.3, 1.0), demand=(True,)),
    ),
    "cb-lints": (
        LinTS,
        grid(LinTSSettings, v_sq=(0.03, 0.1, 0.3, 1.0), lambda_=(1.0, 10.0))
        + grid(LinTSSettings, v_sq=(0.1, 0.3), demand=(True,)),
    ),
    "vw-cats": (
        Cats,
        [
            CatsSettings(),
            *grid(CatsSettings, actions=(4, 8), bandwidth=(0.1, 0.2), learning_rate=(0.05, 0.5),
                  best=(1.0,)),
            *grid(CatsSettings, actions=(4,), bandwidth=(0.2,), learning_rate=(0.05, 0.5)),
            *grid(CatsSettings, actions=(4,), bandwidth=(0.3,), epsilon=(0.01, 0.05), best=(1.0,)),
        ],
    ),
    "vw-squarecb": (
        SquareCB,
        grid(SquareCBSettings, gamma_scale=(10.0, 100.0), whole=(True, False))
        + grid(SquareCBSettings, gamma_scale=(100.0,), learning_rate=(5.0,))
        + grid(SquareCBSettings, gamma_scale=(100.0,), ids=(True,))
        + grid(SquareCBSettings, gamma_scale=(100.0,), interactions=(False,)),
    ),
    "cb-bootstrapped-ts": (
        BootstrappedTS,
        [
            *grid(BootstrapSettings, demand=(False, True)),
            BootstrapSettings(alpha=10.0, demand=True),
        ],
    ),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--record", required=True)
    parser.add_argument("--vectors", required=True)
    parser.add_argument("--peers", default=",".join(GRIDS))
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--json", metavar="FILE")
    given = parser.parse_args()
    torch.set_num_threads(1)
    history, vectors = read_online_retail(given.record), np.load(given.vectors)
    stages = [
        stage(history, vectors, Market(regime, **SMALL), seed)
        for regime in REGIMES
        for seed in SEEDS[: given.seeds]
    ]
    rows: list[dict[str, Any]] = []
    for name in given.peers.split(","):
        maker, tried = GRIDS[name]
        found = []
        for settings in tried:
            results = [hold(where, partial(maker, settings=settings)) for where in stages]
            shares = np.reshape([result.share for result in results], (len(REGIMES), -1)).mean(1)
            seconds = sum(result.seconds for result in results) / len(results)
            found.append((float(shares.mean()), settings))
            rows.append(
                {"peer": name, "settings": str(settings), "mean": float(shares.mean()),
                 **dict(zip(REGIMES, shares.tolist(), strict=True)), "seconds": seconds}
            )  # fmt: skip
            cells = " ".join(f"{share:.3f}" for share in shares)
            print(f"{name} {cells}  {shares.mean():.3f} {seconds:5.1f} s  {settings}", flush=True)
        print(f"{name} best: {max(found, key=lambda pair: pair[0])[1]}", flush=True)
    if given.json:
        with open(given.json, "w") as file:
            json.dump(
                {"seeds": SEEDS[: given.seeds], "market": SMALL, "grid": rows}, file, indent=1
            )


if __name__ == "__main__":
    main()
