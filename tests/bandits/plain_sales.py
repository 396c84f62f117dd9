"""Evidence from plain lists of sales, and what is believed of it."""

import numpy as np
import torch

from bandits import Evidence, Known, Population
from bandits.curves import DEFAULT_BANK as BANK


def t(*values):
    return torch.tensor(values, dtype=torch.float64)


def add(evidence, listing, anchor, price, impressions, units, at=0):
    """`Evidence.add` of plain lists, profit being the revenue."""
    price, units = np.asarray(price, float), np.asarray(units, float)
    evidence.add(
        np.asarray(listing),
        np.broadcast_to(anchor, len(price)).astype(float),
        price,
        np.asarray(impressions, float),
        units,
        price * units,
        np.broadcast_to(at, len(price)).astype(np.int64),
    )


def known_of(n, guess=0.0, guess_sd=0.4):
    return Known(*(torch.full((n,), value, dtype=torch.float64) for value in (guess, guess_sd)))


def prior_of(n, population=None, bank=BANK, guess=0.0, guess_sd=0.4):
    """Posterior of n listings that have no evidence."""
    return Evidence(bank).posterior(
        np.full(n, -1),
        population or Population.default(bank),
        known_of(n, guess, guess_sd),
    )


def posterior_of(evidence, listing, guess=0.0, guess_sd=0.4, population=None):
    n = len(listing)
    return evidence.posterior(
        np.asarray(listing),
        population or Population.default(evidence.bank),
        known_of(n, guess, guess_sd),
    )


def squared(belief):
    """Mean square of the level under each hypothesis, (n, s, l)."""
    return belief.level**2 * (1 + 1 / belief.shape)
