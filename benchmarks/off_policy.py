"""Off-policy estimators held against published figures and obp.

Run: python benchmarks/off_policy.py digits [--runs 30]
     python benchmarks/off_policy.py open-bandit random.parquet bts.parquet
Each takes --json FILE. Where obp is installed, `digits` and `open-bandit` show its values as well.
"""

import argparse
import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from evaluation.estimators import (
    DirectMethod,
    DoublyRobust,
    InversePropensity,
    OptimisticShrinkage,
    SelfNormalised,
    SelfNormalisedDoublyRobust,
    SwitchDoublyRobust,
)
from evaluation.logged import Logged
from evaluation.off_policy import earned, evaluate
from evaluation.reward_models import OneHot, cross_fitted
from markets.open_bandit import PLACES, OpenBandit, read_open_bandit

GRID = (10.0, 50.0, 100.0, 500.0, 1000.0, 5000.0, 10000.0, float("inf"))
"""Tuning parameters that obp offers its estimators to choose from."""

# obp, examples/multiclass/README.md: mean and standard deviation of |estimate / truth - 1|
PUBLISHED = {
    "dm": (0.436541, 0.017629),
    "ips": (0.030288, 0.024506),
    "snips": (0.022764, 0.017917),
    "dr": (0.016156, 0.012679),
    "sndr": (0.022082, 0.016865),
    "switch-dr": (0.034657, 0.018575),
    "dr-os": (0.015868, 0.012537),
}
LIKE_OBP = [
    DirectMethod(),
    InversePropensity(),
    SelfNormalised(),
    DoublyRobust(),
    SelfNormalisedDoublyRobust(),
    SwitchDoublyRobust(GRID, "slope"),
    OptimisticShrinkage(GRID, "slope"),
]
OBP_NAMES = {"ipw": "ips", "snipw": "snips"}


def digits(given: argparse.Namespace) -> dict[str, Any]:
    """Digits as a bandit: the logging policy is a logistic regression, the target a forest."""
    images, labels = load_digits(return_X_y=True)
    errors: dict[str, list[float]] = defaultdict(list)
    theirs: dict[str, list[float]] = defaultdict(list)
    apart = 0.0
    for run in range(given.runs):
        logged, target, predicted, truth = _digits_run(images, labels, run)
        for name, asked in (
            ("", LIKE_OBP),
            (" (own tuning)", [SwitchDoublyRobust(), OptimisticShrinkage()]),
        ):
            found = evaluate(logged, target, predicted, estimators=asked).estimates
            for estimate in found.values():
                errors[estimate.name + name].append(abs(estimate.value.value / truth - 1))
                if not name:
                    errors_of = estimate.value.low <= truth <= estimate.value.high
                    errors[estimate.name + " covers"].append(errors_of)
        for name, value in _obp(logged, target, predicted).items():
            theirs[name].append(abs(value / truth - 1))
            apart = max(apart, abs(theirs[name][-1] - errors[name][-1]))
    print(f"digits, {given.runs} runs: relative error, mean (standard deviation)")
    print(f"{'':>22} {'ours':>16} {'published':>17} {'obp, same rows':>16}  covers  verdict")
    report: dict[str, Any] = {"runs": given.runs, "largest difference from obp": apart}
    for name in [n for n in errors if not n.endswith("covers")]:
        mean, sd = np.mean(errors[name]), np.std(errors[name], ddof=1)
        row = {"mean": mean, "sd": sd}
        line = f"{name:>22} {mean:8.4f} ({sd:.4f})"
        if name in PUBLISHED:
            there, spread = PUBLISHED[name]
            row["covers"] = np.mean(errors[f"{name} covers"])
            row["within one sd or better"] = bool(mean <= there + spread)
            line += f" {there:8.4f} ({spread:.4f})"
            line += f" {np.mean(theirs[name]):16.4f}" if name in theirs else f" {'-':>16}"
            line += f"   {row['covers']:.2f}"
            line += "    within" if abs(mean - there) <= spread else "   outside"
        print(line)
        report[name] = row
    print(
        f"largest difference of one run from obp: {apart:.1e}" if theirs else "obp: not installed"
    )
    return report


def _digits_run(
    images: np.ndarray, labels: np.ndarray, run: int
) -> tuple[Logged, np.ndarray, np.ndarray, float]:
    """One run of obp's protocol: eval_size 0.7, alpha_b 0.4, alpha_e 0.9, random_state 12345."""
    k = 10
    x_train, x, y_train, y = train_test_split(images, labels, test_size=0.7, random_state=run)
    base = LogisticRegression(max_iter=10_000, C=100, random_state=12345).fit(x_train, y_train)
    forest = RandomForestClassifier(30, max_depth=5, min_samples_leaf=10, random_state=12345)
    behaviour = 0.4 * np.eye(k)[base.predict(x)] + 0.6 / k
    target = 0.9 * np.eye(k)[forest.fit(x_train, y_train).predict(x)] + 0.1 / k
    uniform = np.random.RandomState(run).rand(len(x))  # as obp draws
    action = (behaviour.cumsum(1) / behaviour.sum(1, keepdims=True) <= uniform[:, None]).sum(1)
    rows = np.arange(len(x))
    reward = (action == y).astype(float)
    logged = Logged(action, reward, behaviour[rows, action], k, behaviour)
    model = HistGradientBoostingClassifier(
        max_iter=30, learning_rate=0.01, max_depth=5, min_samples_leaf=10, random_state=12345
    )
    predicted = cross_fitted(model, OneHot(x, k), logged, folds=3, seed=12345)
    return logged, target, predicted, float(target[rows, y].mean())


def _obp(
    logged: Logged,
    target: np.ndarray,
    predicted: np.ndarray,
    position: np.ndarray | None = None,
) -> dict[str, float]:
    """The values of the public library on the same rows, by our names; empty without it."""
    try:
        from obp import ope
    except ImportError:
        return {}
    n, places = len(logged), 1 if position is None else PLACES
    place = np.zeros(n, int) if position is None else position
    # (n, k, places): the library reads each row at its place
    shape = (n, logged.n_actions, places)
    chances, rewards = np.full(shape, 1 / logged.n_actions), np.zeros(shape)
    chances[np.arange(n), :, place], rewards[np.arange(n), :, place] = target, predicted
    asked = [
        ope.DirectMethod(), ope.InverseProbabilityWeighting(),
        ope.SelfNormalizedInverseProbabilityWeighting(), ope.DoublyRobust(),
        ope.SelfNormalizedDoublyRobust(), ope.SwitchDoublyRobustTuning(lambdas=list(GRID)),
        ope.DoublyRobustWithShrinkageTuning(lambdas=list(GRID)),
    ]  # fmt: skip
    values = {
        one.estimator_name: one.estimate_policy_value(
            reward=logged.reward, action=logged.action, pscore=logged.propensity,
            action_dist=chances, estimated_rewards_by_reg_model=rewards, position=place,
        )
        for one in asked
    }  # fmt: skip
    return {OBP_NAMES.get(name, name): float(value) for name, value in values.items()}


def open_bandit(given: argparse.Namespace) -> dict[str, Any]:
    """Thompson sampling estimated from the uniform log, beside what it earned itself."""
    random, bts = read_open_bandit(given.random), read_open_bandit(given.bts)
    shown = np.zeros((PLACES, random.n_items))
    np.add.at(shown, (bts.position, bts.item), 1.0)
    target = (shown / shown.sum(1, keepdims=True))[random.position]  # (n, k)
    logged = _clicks(random)
    columns = [np.unique(column, return_inverse=True)[1] for column in random.user]
    context = np.hstack(
        [np.eye(c.max() + 1)[c] for c in columns] + [np.eye(PLACES)[random.position]]
    )
    model = LogisticRegression(C=0.01, max_iter=1000)
    predicted = cross_fitted(model, OneHot(context, random.n_items), logged, seed=12345)
    found = evaluate(logged, target, predicted, estimators=LIKE_OBP)
    truth = earned(_clicks(bts))
    plain, theirs = (
        _plain(logged, target, predicted),
        _obp(logged, target, predicted, random.position),
    )
    print(f"{len(random)} uniform rows, {int(random.click.sum())} clicks; ESS "
          f"{found.weights.effective:.0f}, largest weight {found.weights.largest:.1f}, mean "
          f"{found.weights.mean:.3f} ± {found.weights.mean_se:.3f}")  # fmt: skip
    print(f"clicks per impression of Thompson sampling itself: {truth.value:.5f} "
          f"[{truth.low:.5f}, {truth.high:.5f}] of {len(bts)} rows")  # fmt: skip
    report: dict[str, Any] = {"truth": [truth.value, truth.low, truth.high]}
    print(f"{'':>10} {'estimate':>9} {'interval of 95 %':>20} {'off plain':>10} {'off obp':>9}")
    for name, estimate in found.estimates.items():
        v = estimate.value
        gap = {"plain": abs(v.value - plain[name]) if name in plain else None,
               "obp": abs(v.value - theirs[name]) if name in theirs else None}  # fmt: skip
        off = [f"{g:.1e}" if g is not None else "-" for g in gap.values()]
        print(f"{name:>10} {v.value:9.6f} [{v.low:.6f}, {v.high:.6f}] {off[0]:>10} {off[1]:>9}")
        report[name] = {"value": v.value, "low": v.low, "high": v.high, **gap}
    return report


def _clicks(log: OpenBandit) -> Logged:
    return Logged(log.item, log.click, log.propensity, log.n_items)


def _plain(logged: Logged, target: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    """The published formulas row by row, without anything of ours."""
    ips = weights = dr = 0.0
    for i in range(len(logged)):
        a, r = logged.action[i], logged.reward[i]
        w = target[i, a] / logged.propensity[i]
        ips, weights = ips + w * r, weights + w
        dr += float(target[i] @ predicted[i]) + w * (r - predicted[i, a])
    return {"ips": ips / len(logged), "snips": ips / weights, "dr": dr / len(logged)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, run, tables in (
        ("digits", digits, ()),
        ("open-bandit", open_bandit, ("random", "bts")),
    ):
        command = commands.add_parser(name, help=run.__doc__)
        command.set_defaults(run=run, tables=tables)
        command.add_argument("--json", type=Path, help="write the figures to this file")
        for table in tables:
            command.add_argument(table, type=Path)
        if name == "digits":
            command.add_argument("--runs", type=int, default=30)
    given = parser.parse_args()
    absent = [str(getattr(given, t)) for t in given.tables if not getattr(given, t).is_file()]
    if absent:
        print(f"skipped: {', '.join(absent)} is not here; give the path of the data")
        sys.exit(1 if os.environ.get("CI") == "true" else 0)
    start = time.perf_counter()
    report = given.run(given)
    print(f"{time.perf_counter() - start:.0f} s")
    if given.json:
        given.json.write_text(json.dumps(report, indent=1, default=float))


if __name__ == "__main__":
    main()
