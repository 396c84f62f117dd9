"""Overdispersion is found where it is, and what is learned of a listing counts for no more."""

import numpy as np
import pytest
import torch

from bandits import Policy, Population
from bandits.curves import DEFAULT_BANK
from bandits.dispersion import Dispersion
from bandits.evidence import telling_of, tempered

from .plain_sales import add, posterior_of, prior_of
from .test_demand import outcomes_of, told, trained


def days(rng, n, curve, cv2, shown=(20, 400)):
    """Curves, doubts, impressions and units of n decisions, with chance of their own."""
    impressions = rng.integers(*shown, n).astype(float)
    curve = curve * np.exp(0.3 * rng.standard_normal(n))
    doubt = 0.1 * curve
    rate = curve + doubt * rng.standard_normal(n)
    if cv2:
        rate = rate * rng.gamma(1 / cv2, cv2, n)
    units = rng.poisson(impressions * rate.clip(0)).astype(float)
    return [torch.as_tensor(column) for column in (curve, doubt, impressions, units)]


def found(decisions):
    dispersion = Dispersion()
    dispersion.add(*decisions, torch.ones(len(decisions[0]), dtype=torch.float64))
    return dispersion


@pytest.mark.parametrize("cv2", [0.0, 0.04, 0.25])
@pytest.mark.parametrize("curve", [0.05, 0.5])
def test_it_is_learned_from_decisions(cv2, curve):
    learned = found(days(np.random.default_rng(1), 4000, curve, cv2)).learned()
    assert learned == pytest.approx(cv2, rel=0.25, abs=0.005)


def test_few_or_mistyped_decisions_tell_next_to_nothing():
    rng = np.random.default_rng(2)
    assert found(days(rng, 2, 0.05, 0.0)).learned() < 0.02
    assert Dispersion().learned() == 0.0
    decisions = days(rng, 1000, 0.05, 0.0)
    decisions[3][0] = 1e12
    assert found(decisions).learned() < 0.02
    nothing = [torch.zeros(3, dtype=torch.float64)] * 4
    assert found(nothing).learned() == 0.0


def test_what_is_taken_back_leaves_nothing():
    decisions = days(np.random.default_rng(3), 50, 0.2, 0.1)
    dispersion = found(decisions)
    dispersion.add(*decisions, -torch.ones(50, dtype=torch.float64))
    torch.testing.assert_close(dispersion.sums, torch.zeros(2, dtype=torch.float64))


def test_a_decision_told_in_parts_tells_of_chance_what_it_tells_at_once(make):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    rng = np.random.default_rng(2)
    in_parts, before = Policy(), np.zeros((30, 3))
    for _ in range(5):
        shown, sold = rng.integers(0, 20, 30), rng.integers(0, 4, 30)
        in_parts.learn(outcomes_of(listings, made, shown, sold), before.copy())
        before += told(shown, sold)
    at_once = Policy()
    at_once.learn(outcomes_of(listings, made, *before.T[:2]))
    assert at_once.dispersion.sums[1] > 0
    torch.testing.assert_close(in_parts.dispersion.sums, at_once.dispersion.sums)
    torch.testing.assert_close(in_parts.evidence.sums, at_once.evidence.sums)


def test_sums_are_tempered_to_what_counts_independently():
    sums = torch.rand(3, 2, DEFAULT_BANK.size + 6, dtype=torch.float64)
    sums[:, 0, -1] = torch.tensor([0.0, 100.0, 100.0])
    sums[:, 0, -2] = torch.tensor([0.0, 0.0, 10_000.0])  # one unit a decision; all in one
    found = tempered(sums, 0.04)
    torch.testing.assert_close(found[:2], sums[:2])
    torch.testing.assert_close(found[2], sums[2] / 5.0)  # variance 100 + 0.04 · 100²
    torch.testing.assert_close(tempered(sums, 0.0), sums)


def test_a_giant_day_decides_no_elasticity_where_days_vary(make):
    from bandits import Evidence

    evidence = Evidence()
    add(evidence, [0, 0], 0.0, [1.0, 1.2], [1e5, 1e5], [5000.0, 2500.0])
    unsure, sure = (
        posterior_of(evidence, [0], population=population).location()[1].item()
        for population in (
            Population(Population.default().shapes, overdispersion=0.1),
            Population.default(),
        )
    )
    assert sure < 0.5 * unsure < 0.5 * prior_of(1).location()[1].item()


def test_units_tell_nothing_until_it_is_known_how_many_looked():
    nobody = telling_of(np.array([0.0, 5.0, 5.0]), np.array([3.0, 3.0, -1.0]))
    np.testing.assert_array_equal(nobody, [[0, 0, 0], [5, 3, 6], [5, -1, 0]])
