"""What benchmarks on simulated markets are asked, and the plan and embeddings that follow."""

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from service.benchmark import embedded
from service.benchmark_plan import Asked, Plan, plan
from service.settings import Settings


def questions(doc: str, seeds: int) -> argparse.ArgumentParser:
    """Options that all of them have; `seeds` unless said."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--home", type=Path, default=Path("build/benchmark"))
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--regimes", default="reference,cost,text")
    return parser


def planned(given: argparse.Namespace, policies: str) -> tuple[Plan, NDArray[np.float32]]:
    """The markets, seeds and listings asked for, and the listings' embeddings, (n, d)."""
    torch.set_num_threads(1)
    found = plan(
        Asked(data=given.data, policies=policies, regimes=given.regimes, seeds=given.seeds)
    )
    return found, embedded(found, Settings(home=given.home), lambda *_: None)[0]
