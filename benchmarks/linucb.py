"""Rows scored and learned per CPU-second by the linear-UCB head, beside plain numpy in one run.

Run: python benchmarks/linucb.py [--dim 64] [--arms 10] [--seconds 1]
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from bandits import LinearUCB


class NumpyHead:
    """The same closed form with numpy alone: the factor is renewed after every update."""

    def __init__(self, dim: int) -> None:
        self.a, self.b = np.eye(dim), np.zeros(dim)
        self._renew()

    def _renew(self) -> None:
        self.inverse = np.linalg.inv(self.a)
        self.theta = self.inverse @ self.b

    def update(self, x: np.ndarray, y: np.ndarray) -> None:
        self.a += x.T @ x
        self.b += x.T @ y
        self._renew()

    def score(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        width = np.sqrt(np.einsum("nkd,nkd->nk", x @ self.inverse, x))
        return x @ self.theta, width


def rate(step: Callable[[], object], rows: int, seconds: float) -> float:
    """Rows per CPU-second of this process, after one step that does not count."""
    step()
    start, done = time.process_time(), 0
    while time.process_time() - start < seconds:
        step()
        done += rows
    return done / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--arms", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    print(f"d = {given.dim}, K = {given.arms}, one thread, float32 scores")
    print(f"{'batch':>6} {'':>9} {'head /s':>12} {'numpy /s':>12} {'ratio':>6}")
    for batch in (1, 32, 1024):
        x = rng.normal(size=(batch, given.arms, given.dim)).astype(np.float32)
        y = rng.normal(size=batch).astype(np.float32)
        chosen = np.ascontiguousarray(x[:, 0])
        head = LinearUCB(given.dim, dtype=torch.float32)
        plain = NumpyHead(given.dim)
        xt, ct, yt = torch.from_numpy(x), torch.from_numpy(chosen), torch.from_numpy(y)

        def learn(head: LinearUCB = head, c: torch.Tensor = ct, t: torch.Tensor = yt) -> None:
            head.update(c, t)
            head.solve()

        rows = {
            "decisions": (lambda h=head, v=xt: h.score(v), lambda p=plain, v=x: p.score(v)),
            "updates": (learn, lambda p=plain, c=chosen, t=y: p.update(c, t)),
        }
        for name, (ours, theirs) in rows.items():
            a, b = rate(ours, batch, given.seconds), rate(theirs, batch, given.seconds)
            print(f"{batch:>6} {name:>9} {a:>12,.0f} {b:>12,.0f} {a / b:>6.2f}")


if __name__ == "__main__":
    main()
