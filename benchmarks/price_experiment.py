"""Off-policy estimates of a lender's rate policies held against offers that drew their choices.

Run: python benchmarks/price_experiment.py price_experiment.parquet [--resplits 200] [--json FILE]
Half of the offers teach a policy and estimate it, on separate quarters; the other half says what
offers earned whose randomised rate was the policy's choice.
"""

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import Ridge

from evaluation.estimators import ESTIMATORS
from evaluation.logged import Logged
from evaluation.off_policy import evaluate
from evaluation.reward_models import cross_fitted
from markets.price_experiment import RISKS, PriceExperiment, read_price_experiment

ARMS = 5


def resplit(given: argparse.Namespace) -> dict[str, Any]:
    """Estimates from one half held against what offers of the other half earned."""
    data = Experiment(read_price_experiment(given.table))
    tally: dict[tuple[str, str, str], list[tuple[float, ...]]] = defaultdict(list)
    for seed in range(given.resplits):
        order = np.random.default_rng(seed).permutation(len(data.arm))
        judged, learned = np.array_split(order, 2)
        first, second = np.array_split(learned, 2)
        policies = data.learn(first)
        naive = {f"{name}, same rows": p for name, p in data.learn(learned).items()}
        del naive["highest rate, same rows"]
        for rows, chosen_by in ((second, policies), (learned, naive)):
            predicted = data.predicted(rows, seed)
            for name, chosen in chosen_by.items():
                for risk, where in data.classes(rows).items():
                    there = data.classes(judged)[risk]
                    data.compare(
                        tally, name, risk, rows[where], predicted[where], judged[there], chosen
                    )
    return _coverage(tally, given.resplits)


class Experiment:
    """The offers with their rates in bins; within a stratum the bin was drawn at random."""

    def __init__(self, offers: PriceExperiment) -> None:
        self.risk, self.reward = offers.risk, offers.gross_interest
        self.stratum = offers.stratum
        self.arm = np.zeros(len(offers), np.int64)
        for risk in range(len(RISKS)):
            mine = offers.risk == risk
            rates = offers.rate[mine]
            # edges from the rates that every wave offered; those above go into the highest bin
            common = min(rates[offers.wave[mine] == w].max() for w in set(offers.wave[mine]))
            edges = np.quantile(rates[rates <= common], np.arange(1, ARMS) / ARMS)
            self.arm[mine] = np.searchsorted(edges, rates, side="right")
        cell = self.stratum * ARMS + self.arm
        strata = int(self.stratum.max()) + 1
        counts = np.bincount(cell, minlength=strata * ARMS).reshape(strata, ARMS)
        self.chance = (counts / counts.sum(1, keepdims=True))[self.stratum]  # (n, k)
        rate = np.bincount(cell, offers.rate, strata * ARMS).reshape(strata, ARMS) / counts
        self.rate = (rate[self.stratum] - offers.rate.mean()) / offers.rate.std()  # (n, k)
        x = offers.covariates
        x = np.nan_to_num((x - np.nanmean(x, 0)) / np.nanstd(x, 0))
        self.x = np.hstack([x, np.eye(strata)[self.stratum]])

    def features(self, rows: np.ndarray, arms: np.ndarray) -> np.ndarray:
        x = self.x[rows]
        return np.hstack([x, np.eye(ARMS)[arms], x * self.rate[rows, arms][:, None]])

    def logged(self, rows: np.ndarray) -> Logged:
        arm, chance = self.arm[rows], self.chance[rows]
        return Logged(arm, self.reward[rows], chance[np.arange(len(rows)), arm], ARMS, chance)

    def predicted(self, rows: np.ndarray, seed: int) -> np.ndarray:
        def features(some: np.ndarray, arms: np.ndarray) -> np.ndarray:
            return self.features(rows[some], arms)

        return cross_fitted(Ridge(300.0), features, self.logged(rows), seed=seed)

    def learn(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Policies as the arm of every offer, int64 (n,)."""
        n = len(self.arm)
        model = Ridge(300.0).fit(self.features(rows, self.arm[rows]), self.reward[rows])
        every = np.arange(n)
        values = [model.predict(self.features(every, np.full(n, arm))) for arm in range(ARMS)]
        cell = self.risk[rows] * ARMS + self.arm[rows]
        weight = 1 / self.chance[rows, self.arm[rows]]
        size = len(RISKS) * ARMS
        means = np.bincount(cell, weight * self.reward[rows], size) / np.bincount(
            cell, weight, size
        )
        return {
            "by covariates": np.argmax(values, axis=0),
            "by risk only": means.reshape(-1, ARMS).argmax(1)[self.risk],
            "highest rate": np.full(n, ARMS - 1),
        }

    def classes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        by_class = {name: self.risk[rows] == i for i, name in enumerate(RISKS)}
        return {"all": np.ones(len(rows), bool), **by_class}

    def compare(
        self,
        tally: dict[tuple[str, str, str], list[tuple[float, ...]]],
        name: str,
        risk: str,
        rows: np.ndarray,
        predicted: np.ndarray,
        judged: np.ndarray,
        chosen: np.ndarray,
    ) -> None:
        asked = [ESTIMATORS[e] for e in ("snips", "dr")]
        here = evaluate(self.logged(rows), np.eye(ARMS)[chosen[rows]], predicted, estimators=asked)
        # a chosen arm has one chance within a stratum but not across strata: the mean of offers
        # that drew it is weighted by one over that chance
        there = evaluate(self.logged(judged), np.eye(ARMS)[chosen[judged]], estimators=asked[:1])
        truth = there.estimates["snips"].value
        for estimate in here.estimates.values():
            off = estimate.value.value - truth.value
            se = float(np.hypot(estimate.value.se, truth.se))
            tally[name, risk, estimate.name].append(
                (estimate.value.value, truth.value, off, se, estimate.value.low <= truth.value
                 <= estimate.value.high, here.weights.effective)
            )  # fmt: skip


def _coverage(
    tally: dict[tuple[str, str, str], list[tuple[float, ...]]], resplits: int
) -> dict[str, Any]:
    print(f"{resplits} resplits; rand of interest per offer; intervals of 95 %")
    print(f"{'policy':>26} {'risk':>7} {'':>6} {'estimate':>9} {'other half':>10} "
          f"{'off':>7} {'covers':>7} {'alone':>6} {'ESS':>7}")  # fmt: skip
    report: dict[str, Any] = {"resplits": resplits}
    for (policy, risk, name), rows in tally.items():
        found = np.array(rows, float)
        value, truth, off, se, alone, effective = found.T
        covers = float((np.abs(off) <= 1.959964 * se).mean())
        report[f"{policy} | {risk} | {name}"] = {
            "estimate": value.mean(), "other half": truth.mean(), "off": off.mean(),
            "covers difference": covers, "covers alone": alone.mean(), "ess": effective.mean(),
        }  # fmt: skip
        # fmt: off
        print(f"{policy:>26} {risk:>7} {name:>6} {value.mean():9.1f} {truth.mean():10.1f} "
              f"{off.mean():7.2f} {covers:7.3f} {alone.mean():6.3f} {effective.mean():7.0f}")
        # fmt: on
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--resplits", type=int, default=200)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    start = time.perf_counter()
    report = resplit(given)
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
