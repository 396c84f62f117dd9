"""Chance that belongs to a listing and a day, whoever else is simulated beside it.

Every number is a function of (key, stream, day), so that one listing simulated alone meets the
same days as among ten thousand, and two policies meet the same visitors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.special import betainc, ndtri, pdtr

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_STREAM = np.uint64(0x9E3779B97F4A7C15)
_DAY = np.uint64(0xD1B54A32D192ED03)
# Up to this expectation counting up from zero, in so many columns, is cheaper than a guess and its
# correction; 1 in 10^10 days lies beyond and is corrected.
_FEW, _COLUMNS = 4.0, 22
_BLOCK = 1 << 11


def keys(seed: int, count: int) -> Keys:
    """`count` unlike keys from one seed, uint64 (count,)."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        return _mixed(start + np.arange(1, count + 1, dtype=np.uint64) * _STREAM)


def keys_of(seeds: npt.ArrayLike) -> Keys:
    """One key for each seed, uint64 (n,): the first that `keys` gives for it, in one go."""
    with np.errstate(over="ignore"):
        return _mixed(np.asarray(seeds, np.uint64) * _DAY + _STREAM)


def uniform(keys: Keys, stream: int, day: int | Ints) -> Floats:
    """Numbers in (0, 1), one per key (n,), of a stream (what it is for) and a day.

    Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure
    17 (mix64), applied to the key and then to its sum with stream and day.
    """
    with np.errstate(over="ignore"):
        counter = np.uint64(stream) * _STREAM + np.asarray(day).astype(np.uint64) * _DAY
        mixed = _mixed(_mixed(keys + _STREAM) + counter)
    numbers: Floats = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return numbers


def normal(keys: Keys, stream: int, day: int | Ints) -> Floats:
    """Standard normal numbers (n,)."""
    numbers: Floats = ndtri(uniform(keys, stream, day))
    return numbers


def poisson(u: Floats, mean: Floats) -> Ints:
    """The smallest counts k with P(K <= k) >= u for Poisson K, int64 (n,); u and mean (n,)."""
    z = ndtri(u)
    return _quantile(
        u,
        # Cornish and Fisher 1938, to the term in the skewness
        mean + np.sqrt(mean) * z + (z**2 - 1.0) / 6.0,
        lambda k, rows: pdtr(k, mean[rows]),
        np.full(u.size, np.inf),
    )


def binomial(u: Floats, trials: Ints, share: Floats) -> Ints:
    """The smallest counts k with P(K <= k) >= u for binomial K, int64 (n,).

    A quantile rises with the share: where u is kept, a lower price never sells fewer.
    """
    n, p = trials.astype(np.float64), share
    counts = np.zeros(u.size, np.int64)
    rows = np.flatnonzero(n * p <= _FEW)
    for start in range(0, rows.size, _BLOCK):
        part = rows[start : start + _BLOCK]
        counts[part] = _counted_up(u[part], n[part], p[part])
    many = np.flatnonzero((n * p > _FEW) | (counts == _COLUMNS))
    if many.size:
        u, n, p = u[many], n[many], p[many]
        z, spread = ndtri(u), np.sqrt(n * p * (1.0 - p))
        guess = n * p + spread * z + (1.0 - 2.0 * p) * (z**2 - 1.0) / 6.0
        counts[many] = _quantile(u, guess, lambda k, rows: _binomial_cdf(k, n[rows], p[rows]), n)
    return counts


def _binomial_cdf(k: Floats, n: Floats, p: Floats) -> Floats:
    """P(K <= k), by the incomplete beta function; DLMF 8.17.5."""
    below = k < n
    cdf: Floats = np.where(below, betainc(np.where(below, n - k, 1.0), k + 1.0, 1.0 - p), 1.0)
    return cdf


def _counted_up(u: Floats, n: Floats, p: Floats) -> Ints:
    """Binomial quantiles for small n p, by adding up probabilities from zero; at most _COLUMNS."""
    k = np.arange(1.0, _COLUMNS)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        terms = np.empty((u.size, _COLUMNS))
        terms[:, 0] = np.exp(n * np.log1p(-p))  # P(0)
        # P(k) = P(k - 1) (n - k + 1) / k · p / (1 - p), which is zero beyond n
        terms[:, 1:] = np.maximum(n[:, None] + 1.0 - k, 0.0) / k * (p / (1.0 - p))[:, None]
        total = np.cumsum(np.cumprod(terms, axis=1), axis=1)
    counts = (total < u[:, None]).sum(1)
    # where rounding leaves the sum below u, everyone bought
    return np.where(p >= 1.0, n, np.minimum(counts, n)).astype(np.int64)


def _quantile(
    u: Floats, guess: Floats, cdf: Callable[[Floats, Ints], Floats], most: Floats
) -> Ints:
    """Counts from a guess, moved up or down until the distribution function agrees."""
    k = np.clip(np.floor(guess), 0.0, most)
    rows = np.arange(u.size)
    while rows.size:  # too low: up by one
        rows = rows[cdf(k[rows], rows) < u[rows]]
        rows = rows[k[rows] < most[rows]]
        k[rows] += 1.0
    rows = np.flatnonzero(k > 0)
    while rows.size:  # too high: down by one
        rows = rows[cdf(k[rows] - 1.0, rows) >= u[rows]]
        k[rows] -= 1.0
        rows = rows[k[rows] > 0]
    return k.astype(np.int64)


def _mixed(z: Keys) -> Keys:
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
