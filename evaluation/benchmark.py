"""The benchmark: sellers x markets x seeds, in parallel, with the same result however many jobs."""

from __future__ import annotations

import random
import sys
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from evaluation.processes import carry_out, said
from evaluation.sellers import Maker
from evaluation.stage import Market, Stage, stage
from evaluation.trial import Result, hold
from markets import History

Progress = Callable[[str, int, int], None]
"""Called with what was done last, how many trials are done, and how many there are."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A seller, by name, in a market, by name, drawn from a seed."""

    market: str
    seller: str
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A trial that was held.

    Attributes:
        shown: titles of the listings whose prices `result.path` keeps.
        wall: seconds it took, the clairvoyants' share included.
    """

    trial: Trial
    result: Result
    shown: tuple[str, ...]
    wall: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that was not: `error` says why in a line, `trace` where."""

    trial: Trial
    error: str
    trace: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of a benchmark, in the order of markets, sellers and seeds.

    Attributes:
        stopped: whether it was interrupted, so that trials are missing.
    """

    runs: tuple[Run, ...]
    failures: tuple[Failure, ...] = ()
    stopped: bool = False

    def of(self, market: str, seller: str) -> dict[int, Result]:
        """Results of a seller in a market, by seed."""
        return {
            run.trial.seed: run.result
            for run in self.runs
            if (run.trial.market, run.trial.seller) == (market, seller)
        }


def run(
    history: History,
    vectors: npt.NDArray[np.float32],
    markets: Mapping[str, Market],
    sellers: Mapping[str, Maker],
    seeds: Sequence[int],
    jobs: int = 1,
    progress: Progress | None = None,
    trained_on: npt.NDArray[np.bool_] | None = None,
) -> Outcome:
    """Hold every trial. What one of them raises, or dies of, is a `Failure` and stops no other.

    A script that calls this needs `if __name__ == "__main__":`, since processes are spawned.

    Args:
        vectors: embeddings of `history.listings`, of unit length, float32 (n, d).
        sellers: makers by name, which worker processes must be able to import.
        trained_on: listings whose texts the embeddings were fitted to, bool (n,); None for none.
        jobs: worker processes. Results are the same whatever their number, measured times aside.

    Returns:
        All results; after Ctrl-C those there were, with `stopped`.

    Raises:
        ValueError: no market, seller or seed, seeds that repeat, no job, or vectors of other
            listings.
        processes.CannotStart: a worker process could not import what it needs.
    """
    _check(history, vectors, markets, sellers, seeds, jobs)
    groups = [
        [Trial(market, seller, seed) for seller in sellers] for market in markets for seed in seeds
    ]
    trials = [Trial(*names) for names in product(markets, sellers, seeds)]
    order = {trial: n for n, trial in enumerate(trials)}
    walls: dict[str, list[float]] = defaultdict(list)
    runs: list[Run] = []
    failures: list[Failure] = []

    def weight(trial: Trial) -> float:
        """Seconds that the seller's trials took so far; those never seen go first."""
        known = walls[trial.seller]
        return sum(known) / len(known) if known else float("inf")

    stopped = False
    try:
        given = (history, vectors, markets, sellers, trained_on)
        answers = carry_out(_Bench, given, groups, jobs, weight)
        with closing(answers):
            for trial, answer in answers:
                if isinstance(answer, Run):
                    runs.append(answer)
                    walls[trial.seller].append(answer.wall)
                elif isinstance(answer, Failure):
                    failures.append(answer)
                else:
                    died = f"the process died ({said(answer.exitcode)})"
                    failures.append(Failure(trial, died))
                if progress:
                    what = f"{trial.market}, {trial.seller}, seed {trial.seed}"
                    progress(what, len(runs) + len(failures), len(order))
    except KeyboardInterrupt:
        stopped = True
    runs.sort(key=lambda run: order[run.trial])
    failures.sort(key=lambda failure: order[failure.trial])
    return Outcome(tuple(runs), tuple(failures), stopped)


class _Bench:
    """What a worker process does; the stage of its last trial is kept for the next seller."""

    def __init__(
        self,
        history: History,
        vectors: npt.NDArray[np.float32],
        markets: Mapping[str, Market],
        sellers: Mapping[str, Maker],
        trained_on: npt.NDArray[np.bool_] | None,
    ) -> None:
        self._trained_on = trained_on
        self._history, self._vectors = history, vectors
        self._markets, self._sellers = markets, sellers
        self._titles = history.listings["title"].to_list()
        self._drawn: tuple[str, int] | None = None
        self._stage: Stage

    def __call__(self, trial: Trial) -> Run | Failure:
        start = time.perf_counter()
        try:
            drawn = self._of(trial)
            # a library that draws from global generators draws the same whoever went before it
            random.seed(trial.seed)
            np.random.seed(trial.seed % (1 << 32))  # noqa: NPY002
            if "torch" in sys.modules:
                sys.modules["torch"].manual_seed(trial.seed)
            result = hold(drawn, self._sellers[trial.seller])
        except Exception as error:
            line = f"{type(error).__name__}: {error}"
            return Failure(trial, line, traceback.format_exc())
        rows = drawn.new[: result.path.shape[1]].tolist()
        shown = tuple(self._titles[row] for row in rows)
        return Run(trial, result, shown, time.perf_counter() - start)

    def _of(self, trial: Trial) -> Stage:
        if self._drawn != (trial.market, trial.seed):
            self._drawn = None
            market = self._markets[trial.market]
            self._stage = stage(self._history, self._vectors, market, trial.seed, self._trained_on)
            self._drawn = (trial.market, trial.seed)
        return self._stage


def _check(
    history: History,
    vectors: npt.NDArray[np.float32],
    markets: Mapping[str, Market],
    sellers: Mapping[str, Maker],
    seeds: Sequence[int],
    jobs: int,
) -> None:
    for name, given in (("market", markets), ("seller", sellers), ("seed", seeds)):
        if not given:
            raise ValueError(f"give at least one {name}")
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"seeds must differ and be at least 0: {list(seeds)}")
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, not {jobs}")
    if len(vectors) != history.listings.height:
        raise ValueError(f"{len(vectors)} vectors for {history.listings.height} listings")
