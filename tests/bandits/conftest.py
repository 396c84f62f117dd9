from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bandits import Context, Known, Limits, Listings, limits
from bandits.curves import DEFAULT_BANK
from bandits.limits import reference_range
from bandits.words import WORDS

TEXT = 32


class Shop:
    """Listings drawn from a population, whose demand nothing that learns can see; anchors are 0.

    Demand is written here as the population describes it: by worth and elasticity there.
    """

    def __init__(self, population, known, seed):
        self.rng, self.known, n = np.random.default_rng(seed), known, len(known)
        shape = self.rng.choice(len(DEFAULT_BANK.shapes), n, p=population.shapes.numpy())
        self.kappa = np.array(DEFAULT_BANK.shapes)[shape]
        spread = np.hypot(known.guess_sd.numpy(), population.worth_sd)
        self.worth = known.guess.numpy() + population.shift + spread * self._normal()
        elasticity = population.log_elasticity(known).numpy()
        self.elasticity = np.exp(elasticity + population.elasticity_sd * self._normal())
        self.level = self.rng.gamma(
            population.level_shape, population.level / population.level_shape, n
        )

    def _normal(self):
        return self.rng.standard_normal(len(self.known))

    def demand(self, log_price):
        """Units per impression at prices (n,)."""
        off = np.expm1(self.kappa * (log_price - self.worth)) / self.kappa
        return self.level * np.exp(-self.elasticity * off)

    def sell(self, evidence, log_price, shown, at=0):
        """A day's sales at prices (n,)."""
        n = len(self.known)
        shown = np.broadcast_to(shown, n).astype(float)
        units = self.rng.poisson(shown * self.demand(log_price)).astype(float)
        price = np.exp(log_price)
        rows, when = np.arange(n), np.full(n, at, np.int64)
        evidence.add(rows, np.zeros(n), price, shown, units, price * units, when)


def _known(n, guess=0.0, guess_sd=0.3, **traits):
    """What is known of n listings."""

    def column(value):
        return torch.as_tensor(np.broadcast_to(value, n).astype(float))

    blocks = {name: torch.as_tensor(block).double() for name, block in traits.items()}
    return Known(column(guess), column(guess_sd), blocks)


def _limits(n, per_major, **bounds):
    """Limits of n listings; what is not given is unknown."""
    names = (
        "unit_cost",
        "min_price",
        "max_price",
        "minimum_advertised_price",
        "reference_price",
        "current_price",
        "max_step",
        "price_ending",
    )
    columns = {name: np.broadcast_to(bounds.get(name, np.nan), n).astype(float) for name in names}
    sensible = reference_range(columns.pop("reference_price"), columns["unit_cost"])
    per_major = np.broadcast_to(per_major, n).astype(np.int64)
    return limits(per_major, **columns, sensible=sensible)


def _listings(
    guess,
    *,
    guess_sd=0.4,
    listing=-1,
    anchor=None,
    per_major=100,
    unit_cost=np.nan,
    leader=None,
    text=None,
    market_text=None,
    words=None,
    objective=None,
    at=1_750_000_000_000_000,
    context=None,
    **bounds,
):
    """Listings of which nothing is known but what is given; `guess` in currency units, (n,)."""
    log_guess = np.log(np.atleast_1d(np.asarray(guess, float)))
    n = len(log_guess)

    def column(value, dtype=np.float64):
        return np.broadcast_to(value, n).astype(dtype)

    zeros = np.zeros((n, TEXT), np.float32)
    known = {
        "nearest_similarity": np.nan,
        "competitor_price": np.nan,
        "traffic": np.nan,
        "promotion": 0.0,
        **(context or {}),
    }
    return Listings(
        listing=column(listing, np.int64),
        anchor=log_guess if anchor is None else column(anchor),
        per_major=column(per_major, np.int64),
        limits=_limits(n, per_major, unit_cost=unit_cost, **bounds),
        leader=np.arange(n) if leader is None else np.asarray(leader),
        context=Context(
            text=zeros if text is None else np.asarray(text, np.float32),
            market_text=zeros if market_text is None else np.asarray(market_text, np.float32),
            guess=log_guess,
            guess_sd=column(guess_sd),
            unit_cost=column(unit_cost),
            at=column(at, np.int64),
            category=np.full(n, -1),
            words=np.full((n, WORDS), -1, np.int32) if words is None else words,
            **{name: column(value) for name, value in known.items()},
        ),
        objective=objective,
    )


def _shared(bounds, leader):
    """Limits that all members of a family can live with."""
    lower, upper = bounds.lower.copy(), bounds.upper.copy()
    np.maximum.at(lower, leader, bounds.lower)
    np.minimum.at(upper, leader, bounds.upper)
    return Limits(
        lower[leader], upper[leader], bounds.step, bounds.offset, bounds.floors, bounds.ceilings
    )


def _random_ids(seed, n):
    return np.random.default_rng(seed).integers(0, 2**64, size=(n, 2), dtype=np.uint64)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """Small tensors gain nothing from threads, and wait long for them where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def make():
    """Builders of small worlds."""
    return SimpleNamespace(
        limits=_limits,
        listings=_listings,
        shared=_shared,
        random_ids=_random_ids,
        known=_known,
        shop=Shop,
    )
