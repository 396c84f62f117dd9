from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bandits import Context, Limits, Listings, limits

TEXT = 32


def _limits(n, per_major, **bounds):
    """Limits of n listings; what is not given is unknown."""
    names = (
        "unit_cost",
        "min_price",
        "max_price",
        "minimum_advertised_price",
        "current_price",
        "max_step",
        "price_ending",
    )
    columns = {name: np.broadcast_to(bounds.get(name, np.nan), n).astype(float) for name in names}
    return limits(np.broadcast_to(per_major, n).astype(np.int64), **columns)


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
            **{name: column(value) for name, value in known.items()},
        ),
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
    """Builders of small worlds: `limits`, `listings`, `shared`, `random_ids`."""
    return SimpleNamespace(
        limits=_limits, listings=_listings, shared=_shared, random_ids=_random_ids
    )
