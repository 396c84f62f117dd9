import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from bandits import LinearUCB
from bandits.disjoint import Disjoint

ARMS, DIM = 3, 5


def test_noise_is_measured_before_the_reward_is_learned():
    bandit = Disjoint(LinearUCB(DIM, groups=ARMS))
    assert bandit.noise == 1.0
    x = torch.ones(1, DIM, dtype=torch.float64)
    bandit.learn(x, torch.tensor([0]), torch.tensor([3.0]))
    assert bandit.noise == pytest.approx(((1 + 9) / 2) ** 0.5)


def test_noise_comes_to_that_of_the_rewards_and_the_best_arm_is_found():
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(ARMS, DIM))
    bandit = Disjoint(LinearUCB(DIM, groups=ARMS))
    right = []
    for _ in range(1500):
        x = rng.normal(size=(1, DIM))
        arm = bandit.choose(torch.as_tensor(x))
        means = (x @ theta.T)[0]
        right.append(int(arm) == means.argmax())
        reward = torch.as_tensor(means[arm.numpy()] + 0.2 * rng.normal(size=1))
        bandit.learn(torch.as_tensor(x), arm, reward)
    assert np.mean(right[-500:]) > 0.9
    assert 0.2 < bandit.noise < 0.4  # the errors of the first rows are still in it


def test_greedy_is_optimism_of_nought():
    bandit = Disjoint(LinearUCB(DIM, groups=ARMS), optimism=0.0)
    x = torch.ones(1, DIM, dtype=torch.float64)
    bandit.learn(x, torch.tensor([2]), torch.tensor([1.0]))
    assert bandit.choose(x).tolist() == [2]


def test_digits_as_a_bandit_one_short_pass():
    # 400 of the 1,797 rows: uniform earns 0.1, the benchmark's full pass 0.84 and more
    path = Path(__file__).parents[2] / "benchmarks" / "classification.py"
    benchmark = runpy.run_path(str(path))
    x, y = benchmark["load"]("digits", None)
    assert x.shape == (1797, 65)
    assert x.min() == 0
    assert x.max() == 1
    order = np.random.default_rng(0).permutation(1797)[:400]
    earned = {name: benchmark[name](x[order], y[order], 0) for name in ("uniform", "disjoint")}
    assert earned["disjoint"].mean() > 0.5
    assert earned["uniform"].mean() < 0.2
    assert set(np.unique(earned["disjoint"])) <= {0.0, 1.0}
