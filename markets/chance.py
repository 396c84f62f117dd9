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
# Up to this expectation counting up from zero is cheaper than a guess, and the guesses are less
# exact; 1 in 10^10 days lies beyond so many counts and is found as the others are.
_FEW, _COUNTED = 4.0, 22
# Farther out than so many standard deviations a guess is always checked.
_FAR = 3.5


def keys(seed: int, count: int) -> Keys:
    """`count` unlike keys from one seed of at least 0, uint64 (count,)."""
    start = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    with np.errstate(over="ignore"):
        return _mixed(start + np.arange(1, count + 1, dtype=np.uint64) * _STREAM)


def keys_of(seeds: npt.ArrayLike) -> Keys:
    """One key for each of many seeds, uint64 of any shape; other keys than `keys` gives."""
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
    # 52 bits: with 53 the largest would be rounded to 1
    numbers: Floats = ((mixed >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    return numbers


def normal(keys: Keys, stream: int, day: int | Ints) -> Floats:
    """Standard normal numbers (n,)."""
    numbers: Floats = ndtri(uniform(keys, stream, day))
    return numbers


def poisson(u: Floats, mean: Floats) -> Ints:
    """The smallest counts k with P(K <= k) >= u for Poisson K, int64 (n,); u and mean (n,).

    Giles, "Algorithm 955: approximation of the inverse Poisson cumulative distribution function",
    ACM Transactions on Mathematical Software 2016: the normal expansion Q_N2 and its error.
    """
    z, spread = ndtri(u), np.sqrt(mean)
    square = z * z
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        far = mean + spread * z + (2.0 + square) / 6.0
        guess = far - z * (2.0 + square) / (72.0 * spread)
        counts, doubtful = _settled(guess, z, mean)
    if doubtful.size:
        u, mean, few = u[doubtful], mean[doubtful], far[doubtful]
        most = np.full(few.size, np.inf)
        counts[doubtful] = _quantile(u, few, lambda k, rows: pdtr(k, mean[rows]), most)
    return counts


def binomial(u: Floats, trials: Ints, share: Floats) -> Ints:
    """The smallest counts k with P(K <= k) >= u for binomial K, int64 (n,).

    A quantile rises with the share: where u is kept, a lower price never sells fewer.
    """
    n, p = trials.astype(np.float64), share
    counts = np.zeros(u.size, np.int64)
    rows = np.flatnonzero(n * p <= _FEW)
    if rows.size:
        counts[rows] = _counted_up(u[rows], n[rows], p[rows])
    many = np.flatnonzero((n * p > _FEW) | (counts == _COUNTED))
    if many.size:
        counts[many] = _many(u[many], n[many], p[many])
    return counts


def _many(u: Floats, n: Floats, p: Floats) -> Ints:
    """Binomial quantiles for large n p: Cornish and Fisher 1938, to the kurtosis; else checked.

    Half a unit more, and a twelfth less of variance, because counts are rounded.
    """
    z, q = ndtri(u), 1.0 - p
    square, variance, skew = z * z, n * p * q, 1.0 - 2.0 * p
    spread = np.sqrt(variance)
    far = n * p + spread * z + 0.5 + skew * (square - 1.0) / 6.0
    bend = (1.0 - 6.0 * p * q) * (square - 3.0) / 24.0 - skew**2 * (2.0 * square - 5.0) / 36.0
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        guess = far + z * (bend - 1.0 / 24.0) / spread
        counts, doubtful = _settled(guess, z, variance)
    if doubtful.size:
        u, n, p = u[doubtful], n[doubtful], p[doubtful]
        counts[doubtful] = _quantile(
            u, far[doubtful], lambda k, rows: _binomial_cdf(k, n[rows], p[rows]), n
        )
    return counts


def _settled(guess: Floats, z: Floats, variance: Floats) -> tuple[Ints, Ints]:
    """Counts from guesses, and the rows where a guess is too near to a step to be sure, (m,).

    The error is Giles' (see `poisson`), doubled.
    """
    square = z * z
    error = (1.0 / 20.0 + square * (1.0 / 40.0 + square / 80.0)) / variance
    whole = np.floor(guess)
    rest = guess - whole
    sure = (rest > error) & (rest < 1.0 - error) & (np.abs(z) < _FAR) & (variance >= _FEW)
    counts = np.where(sure, whole, 0.0).astype(np.int64)
    return counts, np.flatnonzero(~sure)


def _binomial_cdf(k: Floats, n: Floats, p: Floats) -> Floats:
    """P(K <= k), by the incomplete beta function; DLMF 8.17.5."""
    below = k < n
    cdf: Floats = np.where(below, betainc(np.where(below, n - k, 1.0), k + 1.0, 1.0 - p), 1.0)
    return cdf


def _counted_up(u: Floats, n: Floats, p: Floats) -> Ints:
    """Binomial quantiles for small n p, by adding up probabilities from zero; at most _COUNTED."""
    counts = np.where(p >= 1.0, n, 0.0)
    rows = np.flatnonzero((p > 0.0) & (p < 1.0))
    u, n, p = u[rows], n[rows], p[rows]
    term, odds = np.exp(n * np.log1p(-p)), p / (1.0 - p)  # P(0)
    total = term
    for k in range(1, _COUNTED + 1):
        # where rounding leaves the sum below u, everyone bought
        going = np.flatnonzero((total < u) & (n >= k))
        if not going.size:
            break
        rows, u, n, odds = rows[going], u[going], n[going], odds[going]
        # P(k) = P(k - 1) (n - k + 1) / k · p / (1 - p)
        term = term[going] * ((n + 1.0 - k) / k * odds)
        total = total[going] + term
        counts[rows] = k
    return counts.astype(np.int64)


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
