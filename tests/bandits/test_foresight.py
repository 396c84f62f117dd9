import dataclasses

import numpy as np
import pytest
import torch

from bandits import Evidence, Known, Policy, Population, Rules
from bandits.curves import DEFAULT_BANK
from bandits.evidence import Posterior
from bandits.foresight import LOOK_DAYS, worth_of_learning

CPU = torch.device("cpu")


def believed(n, shown=0.0, seed=0):
    """Belief about n listings guessed to be worth 1, `shown` impressions at about that."""
    known = Known(torch.zeros(n).double(), torch.full((n,), 0.3).double())
    evidence, population = Evidence(), Population.default()
    if shown:
        rng, rows = np.random.default_rng(seed), np.arange(n)
        for _ in range(4):
            price = np.exp(rng.normal(0.0, 0.25, n))
            units = rng.poisson(shown / 4 * 0.05 * np.exp(-2.0 * (price - 1.0))).astype(float)
            each = np.full(n, shown / 4)
            evidence.add(rows, np.zeros(n), price, each, units, price * units, np.zeros(n, int))
    return evidence.posterior(np.arange(n), population, known)


def asked(belief, impressions, cost=0.4, arms=None, log_price=None):
    """Worth of learning over a ladder, and what it was asked of."""
    n = len(belief.weight)
    if log_price is None:
        log_price = np.broadcast_to(np.linspace(-0.6, 1.0, 8), (n, 8))
    curves = DEFAULT_BANK.demand(torch.as_tensor(log_price.copy()))
    mean = (curves * (belief.weight * belief.level)[:, None]).sum((2, 3)).numpy()
    gain = np.exp(log_price) - cost
    arms = np.broadcast_to(np.arange(log_price.shape[1]), log_price.shape) if arms is None else arms
    shown = np.broadcast_to(impressions, n).astype(float)
    found = worth_of_learning(DEFAULT_BANK, belief, log_price, mean, gain, arms, shown, CPU)
    return found, log_price, mean, gain


def simulated(belief, log_price, gain, shown, draws, seed):
    """Rise of the best gain of listing 0 by `shown` impressions at each arm, from exact beliefs."""
    rng, bank = np.random.default_rng(seed), DEFAULT_BANK
    m = bank.size
    weight, level, shape = (
        getattr(belief, name)[0].flatten().numpy() for name in ("weight", "level", "shape")
    )
    curves = bank.demand(torch.as_tensor(log_price[0].copy())).flatten(1).numpy()  # (k, m)
    truth = rng.choice(m, draws, p=weight / weight.sum())
    scale = rng.gamma(shape[truth]) / shape[truth] * level[truth]
    rises = []
    for i in range(len(curves)):
        units = rng.poisson(shown * scale * curves[i, truth])[:, None]
        rate = shape / level + shown * curves[i]
        log = np.log(weight + 1e-300) + units * np.log(curves[i] + 1e-300)
        gamma = shape + units
        log += torch.lgamma(torch.as_tensor(gamma)).numpy() - np.log(rate) * gamma
        log += shape * np.log(shape / level) - torch.lgamma(torch.as_tensor(shape)).numpy()
        after = np.exp(log - log.max(1, keepdims=True))
        after /= after.sum(1, keepdims=True)
        value = gain[0] * ((after * gamma / rate) @ curves.T)  # (draws, k)
        rises.append(value.max(1).mean() - value.mean(0).max())
    return np.array(rises)


@pytest.mark.statistical
@pytest.mark.parametrize("shown", [0.0, 400.0])
@pytest.mark.parametrize("impressions", [20.0, 200.0])
def test_it_is_what_exact_beliefs_gain_by_a_look(shown, impressions):
    # 4,000 draws leave an error of a few per cent. Demand that moves log-normally, and by no more
    # than its first two moments say, overstates what is learned where nothing is known yet.
    belief = believed(1, shown)
    found, log_price, mean, gain = asked(belief, impressions)
    exact = simulated(belief, log_price, gain, impressions * LOOK_DAYS, 4000, seed=3)
    assert np.corrcoef(found[0], exact)[0, 1] > 0.85
    assert 0.5 < found.sum() / exact.sum() < 2.0
    assert exact.max() > 0.01 * (gain * mean).max()


def test_what_is_known_teaches_nothing():
    belief = believed(3)
    sure = torch.zeros_like(belief.weight)
    sure[:, 1, 20] = 1.0
    certain = Posterior(
        sure, belief.level, torch.full_like(belief.shape, 1e9), belief.log_worth,
        belief.log_likelihood,
    )  # fmt: skip
    found, *_, gain = asked(certain, 1e4)
    np.testing.assert_allclose(found, 0.0, atol=1e-5 * np.abs(gain).max())


def test_more_sales_at_a_price_teach_more():
    belief = believed(1)
    by_traffic = [asked(belief, shown)[0][0] for shown in (1.0, 10.0, 100.0, 1000.0)]
    assert (np.diff(by_traffic, axis=0) >= 0).all()
    assert by_traffic[3].max() > 2 * by_traffic[0].max()


def test_hypotheses_that_count_for_nothing_may_have_any_level():
    """As after billions of sales: a curve that is nearly 0 where they were made."""
    belief = believed(1, shown=2000.0)
    weight, level = belief.weight.clone(), belief.level.clone()
    weight[0, 0, 0] = 0.0
    wanted, *_ = asked(dataclasses.replace(belief, weight=weight), 50.0)
    level[0, 0, 0] = 1e25
    found, *_ = asked(dataclasses.replace(belief, weight=weight, level=level), 50.0)
    assert found == pytest.approx(wanted, rel=1e-4, abs=1e-9)
    assert found.max() > 0


def test_what_has_been_learned_is_worth_less():
    fresh, seen = (asked(believed(1, shown), 100.0) for shown in (0.0, 20_000.0))
    relative = [found.max() / (gain * mean).max() for found, _, mean, gain in (fresh, seen)]
    assert relative[1] < 0.2 * relative[0]


def test_gains_in_other_money_are_worth_as_much():
    belief = believed(2)
    found, log_price, mean, gain = asked(belief, 50.0)
    arms = np.broadcast_to(np.arange(8), (2, 8))
    shown = np.full(2, 50.0)
    again = worth_of_learning(
        DEFAULT_BANK, belief, log_price, mean, 1000.0 * gain, arms, shown, CPU
    )
    np.testing.assert_allclose(again, 1000.0 * found, rtol=1e-4, atol=1e-4 * gain.max())


def test_rows_do_not_depend_on_each_other():
    belief = believed(700, 200.0)
    together = asked(belief, np.arange(1.0, 701.0))[0]
    for i in (0, 511, 512, 699):
        one = belief.take(torch.tensor([i]))
        np.testing.assert_allclose(asked(one, 1.0 + i)[0][0], together[i], rtol=1e-3, atol=1e-7)


def test_arms_that_are_no_candidates_are_left_out():
    belief = believed(2)
    arms = np.array([[1, 2, 3], [4, 5, 6]])
    found = asked(belief, 100.0, arms=arms)[0]
    assert (np.take_along_axis(found, arms, 1) > 0).any()
    mask = np.ones((2, 8), bool)
    np.put_along_axis(mask, arms, False, 1)
    assert (found[mask] == 0).all()


# -- in the policy -------------------------------------------------------------------------------


def strangers(make, n, impressions):
    listings = make.listings(np.full(n, 10.0), unit_cost=4.0)
    shown = np.broadcast_to(impressions, n).astype(float)
    return dataclasses.replace(listings, impressions=shown)


def test_what_learning_is_worth_is_added_to_the_gain(make):
    listings = strangers(make, 3, [np.nan, 0.0, 200.0])
    made = Policy(Rules(foresight_days=8.0)).decide(listings, make.random_ids(0, 3))
    plain = Policy(Rules(foresight_days=0.0)).decide(listings, make.random_ids(0, 3))
    added = made.scores - plain.scores
    assert (added[:2] == 0).all()  # nobody knows how many will look
    assert added[2].max() > 0
    twice = Policy(Rules(foresight_days=16.0)).decide(listings, make.random_ids(0, 3))
    np.testing.assert_allclose(twice.scores - plain.scores, 2 * added, rtol=1e-9)


def test_best_estimates_are_not_moved_by_it(make):
    listings = strangers(make, 2, 500.0)
    ids = make.random_ids(0, 2)
    made = Policy(Rules(foresight_days=50.0)).decide(listings, ids, explore=False)
    plain = Policy(Rules(foresight_days=0.0)).decide(listings, ids, explore=False)
    np.testing.assert_array_equal(made.price, plain.price)


def test_prices_that_may_not_be_charged_are_not_learned_for(make):
    listings = make.listings(np.full(4, 10.0), unit_cost=4.0, min_price=9.0, max_price=9.05)
    listings = dataclasses.replace(listings, impressions=np.full(4, 300.0))
    made = Policy().decide(listings, make.random_ids(0, 4))
    assert np.isfinite(made.scores[made.ladders.allowed]).all()
    assert ((made.price >= 900) & (made.price <= 905)).all()


def test_a_busy_listing_is_learned_about_more_than_a_quiet_one(make):
    def cost(impressions):
        """Share of the expected gain that is given up to learn."""
        policy, listings = Policy(), strangers(make, 1, impressions)
        made = policy.decide(listings, make.random_ids(0, 1))
        gain = (made.ladders.prices / 100 - 4.0) * made.estimates.mean
        return 1 - (made.propensities * gain).sum() / gain[made.ladders.allowed].max()

    assert cost(2.0) < cost(500.0)
