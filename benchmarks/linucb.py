"""Decisions and updates per CPU-second of the linear-UCB head, beside its peers in one run.

Run: OMP_NUM_THREADS=1 python benchmarks/linucb.py [--dim 64] [--arms 10] [--seconds 1] [--peers ""]
A decision is a row of K arms scored, and the arm of the highest mean + α · width chosen. An update
counts once the next decision can be taken; `pairs` are one update and one decision in turn.
One head scores all K arms here and in plain numpy. The libraries' LinUCB keep one a arm and see one
row of d features for all arms: the same arithmetic for a decision. Every contestant takes turns of
a tenth of a second; the figure is the median turn.
"""

import argparse
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from bandits.linucb import LinearUCB

ALPHA, TURN = 0.3, 0.1
Step = Callable[[], object]


class Head:
    """This project's."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = torch.from_numpy(x), torch.from_numpy(y)
        self.chosen = self.x[:, 0].contiguous()
        self.head = LinearUCB(x.shape[2], dtype=torch.float32)

    def choose(self) -> object:
        return self.head.choose(self.x, ALPHA)

    def update(self) -> None:
        self.head.update(self.chosen, self.y)
        self.head.prepare()


class NumpyHead:
    """The same closed form in plain numpy: float32 scores, the inverse renewed at every update."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y.astype(np.float64)
        self.chosen = x[:, 0].astype(np.float64)
        self.a, self.b = np.eye(x.shape[2]), np.zeros(x.shape[2])
        self.inverse = np.eye(x.shape[2])
        self._renew()

    def _renew(self) -> None:
        self.scoring = self.inverse.astype(np.float32)
        self.theta = (self.inverse @ self.b).astype(np.float32)

    def choose(self) -> object:
        rows = self.x.reshape(-1, self.x.shape[2])
        width = np.sqrt(np.einsum("nd,nd->n", rows @ self.scoring, rows))
        return (rows @ self.theta + ALPHA * width).reshape(self.x.shape[:2]).argmax(1)

    def update(self) -> None:
        x, y = self.chosen, self.y
        self.b += x.T @ y
        if len(x) == 1:  # Sherman-Morrison
            gain = self.inverse @ x[0]
            self.inverse -= np.outer(gain, gain) / (1 + x[0] @ gain)
        else:
            self.a += x.T @ x
            self.inverse = np.linalg.inv(self.a)
        self._renew()


class Mabwiser:
    """mabwiser: LinUCB, one model an arm."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        from mabwiser.mab import MAB, LearningPolicy

        self.rows, self.y = x[:, 0].astype(np.float64), y
        self.arms = np.arange(len(x)) % x.shape[1]
        self.peer = MAB(list(range(x.shape[1])), LearningPolicy.LinUCB(ALPHA))
        self.peer.fit(self.arms, self.y, self.rows)

    def choose(self) -> object:
        return self.peer.predict(self.rows)

    def update(self) -> None:
        self.peer.partial_fit(self.arms, self.y, self.rows)


class ContextualBandits:
    """contextualbandits: LinUCB, one model an arm."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        from contextualbandits.online import LinUCB

        self.rows, self.y = np.ascontiguousarray(x[:, 0]), (y > 0).astype(np.float32)
        self.arms = np.arange(len(x)) % x.shape[1]
        self.peer = LinUCB(x.shape[1], alpha=ALPHA, beta_prior=None, fit_intercept=False)
        every = np.arange(x.shape[1])  # an arm without a reward is not scored at all
        self.peer.partial_fit(np.repeat(self.rows[:1], len(every), 0), every, every % 2.0)

    def choose(self) -> object:
        return self.peer.predict(self.rows)

    def update(self) -> None:
        self.peer.partial_fit(self.rows, self.arms, self.y)


class Vowpal:
    """vowpalwabbit: squarecb, one row at a time, lines of text parsed beforehand."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        from vowpalwabbit import Workspace

        arms = x.shape[1]
        self.peer = Workspace(f"--cb_explore {arms} --squarecb --quiet")
        lines = ["| " + " ".join(f"{i}:{v:.4f}" for i, v in enumerate(row)) for row in x[:, 0]]
        self.asked = [self.peer.parse(line, 4) for line in lines]  # 4: contextual-bandit labels
        told = [f"{1 + i % arms}:{-c:.4f}:{1 / arms} {line}" for i, (c, line) in
                enumerate(zip(y, lines, strict=True))]  # fmt: skip
        self.told = [self.peer.parse(line, 4) for line in told]

    def choose(self) -> object:
        return [self.peer.predict(example) for example in self.asked]

    def update(self) -> None:
        for example in self.told:
            self.peer.learn(example)


PEERS: dict[str, tuple[str, Any]] = {
    "numpy": ("numpy", NumpyHead),
    "mabwiser": ("mabwiser", Mabwiser),
    "contextualbandits": ("contextualbandits", ContextualBandits),
    "vowpalwabbit": ("vowpalwabbit", Vowpal),
}


def turn(step: Step, rows: int) -> float:
    """Rows per CPU-second of this process over one turn."""
    start, done = time.process_time(), 0
    while time.process_time() - start < TURN:
        step()
        done += rows
    return done / (time.process_time() - start)


def rates(contestants: dict[str, Any], rows: int, seconds: float) -> dict[str, dict[str, float]]:
    """Median rate by kind of work and contestant, after one step that does not count."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(max(1, round(seconds / TURN))):
        for name, one in contestants.items():

            def pair(one: Any = one) -> None:
                one.update()
                one.choose()

            pair()
            for kind, step in (("decisions", one.choose), ("updates", one.update), ("pairs", pair)):
                found.setdefault(kind, {}).setdefault(name, []).append(turn(step, rows))
    return {
        kind: {name: float(np.median(turns)) for name, turns in by_name.items()}
        for kind, by_name in found.items()
    }


def peak() -> float:
    """GFLOP/s of a float32 product of 1,024 × 1,024 matrices here and now."""
    a = np.ones((1024, 1024), np.float32)
    return turn(lambda: a @ a, 2 * 1024**3) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each figure")
    parser.add_argument("--batches", default="1,32,1024")
    parser.add_argument("--peers", default=",".join(PEERS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    makers: dict[str, Any] = {"head": Head}
    for name in filter(None, given.peers.split(",")):
        package, maker = PEERS[name]
        if find_spec(package) is None:
            print(f"{name} is not installed: left out (pip install 'pricebandit[bench]')")
        else:
            makers[name] = maker
    print(
        f"d = {given.dim}, K = {given.arms}, one thread; {peak():.0f} GFLOP/s in float32 products"
    )
    print(f"{'batch':>6} {'per CPU-second':>15}" + "".join(f"{name:>19}" for name in makers))
    rng = np.random.default_rng(0)
    for batch in map(int, given.batches.split(",")):
        x = rng.normal(size=(batch, given.arms, given.dim)).astype(np.float32)
        y = rng.normal(size=batch).astype(np.float32)
        contestants = {name: maker(x, y) for name, maker in makers.items()}
        for kind, by_name in rates(contestants, batch, given.seconds).items():
            cells = "".join(f"{rate:>19,.0f}" for rate in by_name.values())
            print(f"{batch:>6} {kind:>15}{cells}")
            ratios = "".join(f"{by_name['head'] / rate:>19.2f}" for rate in by_name.values())
            print(f"{'':>6} {'head / it':>15}{ratios}", flush=True)
    print(f"{peak():.0f} GFLOP/s in float32 products at the end")


if __name__ == "__main__":
    main()
