"""A policy with some sales behind it, and how tests report sales to one."""

import dataclasses

import numpy as np

from bandits import Context, Outcomes, Policy, Rules

DAY = 86_400_000_000


def outcomes_of(listings, decisions, impressions, units, at=0, stock=np.nan):
    """What came of decisions, profit over the unit cost where there is one."""
    price = decisions.price / listings.per_major
    cost = np.nan_to_num(listings.context.unit_cost)
    return Outcomes(
        listing=listings.listing,
        anchor=listings.anchor,
        price=price,
        impressions=np.asarray(impressions, float),
        units=np.asarray(units, float),
        profit=units * (price - cost),
        curve_sd=np.take_along_axis(decisions.estimates.curve_sd, decisions.arm[:, None], 1)[:, 0],
        features=decisions.features,
        at=np.full(len(price), at, np.int64),
        passing=decisions.passing,
        day_expected=decisions.day,
        day=np.ones(len(price)),
        category=listings.context.category,
        elasticity=decisions.elasticity,
        worth_expected=decisions.worth,
        worth=np.zeros(len(price)),
        stock=np.broadcast_to(np.asarray(stock, float), len(price)),
        expected=decisions.estimates.take(decisions.arm).mean,
        returned=np.zeros(len(price)),
    )


def told(impressions, units):
    """What outcomes of usual days told of their decisions, as learning takes it, (m, 4)."""
    return np.stack([impressions, units, impressions, np.zeros_like(units)], axis=1).astype(float)


def rows_of(listings, rows):
    """Rows, anchors and contexts, as learning takes them."""
    context = listings.context
    fields = {f.name: getattr(context, f.name)[rows] for f in dataclasses.fields(Context)}
    return rows, listings.anchor[rows], Context(**fields)


def estimated(policy, listings, prices):
    """Estimates at prices (n, k), and the head's inputs."""
    return policy.estimate(listings, policy.profile(policy.posterior(listings)), prices)


def catalogue(make, n, seed=0, **known):
    rng = np.random.default_rng(seed)
    guess = rng.uniform(5, 80, n)
    return make.listings(
        guess,
        listing=np.arange(n),
        unit_cost=guess * rng.uniform(0.3, 0.7, n),
        text=rng.standard_normal((n, 32)) / np.sqrt(32),
        **known,
    )


def trained(make, n=30, rounds=4, seed=0, learn_population=True, **chosen):
    """A policy with some sales behind it, and what it sells."""
    policy, listings = Policy(Rules(**chosen)), catalogue(make, n, seed)
    rng = np.random.default_rng(seed)
    for day in range(rounds):
        decisions = policy.decide(listings, make.random_ids(seed + day, n))
        units = rng.poisson(100 * 0.05 * np.exp(listings.anchor) / decisions.price * 100)
        policy.learn(outcomes_of(listings, decisions, np.full(n, 100), units, day * DAY))
    if learn_population:
        policy.learn_population(*rows_of(listings, policy.consulted()))
    return policy, listings
