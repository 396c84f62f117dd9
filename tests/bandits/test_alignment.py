import dataclasses

import numpy as np
import pytest

from bandits import Outcomes, Policy
from bandits.alignment import Alignment

N, DAY = 80, 86_400_000_000


def sold(make, off, days=6, seed=0):
    """A policy that has sold listings of two categories; guesses of the second are `off`."""
    rng = np.random.default_rng(seed)
    category = np.arange(N) % 2
    worth = np.exp(rng.normal(3.0, 0.5, N))
    guess = worth * np.exp(0.1 * rng.standard_normal(N) + off * rng.choice([-1, 1], N) * category)
    listings = make.listings(guess, guess_sd=0.1, listing=np.arange(N), unit_cost=0.3 * worth)
    context = dataclasses.replace(listings.context, category=category)
    listings = dataclasses.replace(listings, context=context)
    policy = Policy()
    for day in range(days):
        made = policy.decide(listings, make.random_ids(day, N))
        price, shown = made.price / 100, np.full(N, 300.0)
        units = rng.poisson(shown * 0.05 * np.exp(-2 * (price / worth - 1))).astype(float)
        policy.learn(
            Outcomes(
                listings.listing, listings.anchor, price, shown, units, units * price,
                made.estimates.take(made.arm).curve_sd, made.features, np.full(N, day * DAY),
                made.passing, made.day, np.ones(N), category, made.elasticity, *np.zeros((2, N)),
                np.full(N, np.nan), made.estimates.take(made.arm).mean, np.zeros(N),
            )
        )  # fmt: skip
        if day in (1, 5):
            policy.learn_population(np.arange(N), listings.anchor, context)
    return policy, listings


def test_guesses_that_sales_bear_out_are_not_doubted(make):
    policy, _ = sold(make, off=0.0)
    assert (policy.alignment.doubt < 1.3).all()


def test_a_category_whose_guesses_are_off_is_doubted_and_the_other_is_not(make):
    policy, listings = sold(make, off=0.9)
    good, bad = policy.alignment.doubt
    assert bad > 1.5 * good
    sd = policy.known(listings.context, listings.anchor).guess_sd.numpy()
    assert sd[1] > sd[0] >= 0.1
    # a new listing of that category is then believed less sharply
    strangers = dataclasses.replace(listings, listing=np.full(N, -1))
    spread = policy.posterior(strangers).worth()[1]
    assert spread[1] > spread[0]


def test_without_categories_nothing_is_doubted(make):
    nobody = Alignment.learn(np.full(3, -1), None, None)
    assert nobody.of(np.array([0, 5, -1])).tolist() == [1, 1, 1]


def test_unknown_categories_are_trusted():
    doubts = Alignment(np.array([2.0, 3.0])).of(np.array([1, -1, 7, 0]))
    assert doubts.tolist() == pytest.approx([3, 1, 1, 2])
