import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from markets import chance

N = 200_000
KEYS = chance.keys(0, N)
U = chance.uniform(KEYS, 20, 0)


def test_poisson_quantiles_are_those_of_scipy() -> None:
    means = 10.0 ** np.random.default_rng(0).uniform(-3, 4, N)
    means[:100] = 0.0
    np.testing.assert_array_equal(chance.poisson(U, means), stats.poisson.ppf(U, means))


def test_binomial_quantiles_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    trials = np.floor(10.0 ** rng.uniform(0, 4, N)).astype(np.int64)
    share = np.where(rng.random(N) < 0.5, 10.0 ** rng.uniform(-4, 0, N), rng.random(N))
    trials[:500], share[250:750], share[750:1000] = 0, 0.0, 1.0
    found = chance.binomial(U, trials, share)
    np.testing.assert_array_equal(found, stats.binom.ppf(U, trials, share))
    np.testing.assert_array_equal(found[750:1000], trials[750:1000])


@pytest.mark.parametrize("u", [2.0**-53, 1e-12, 1e-6, 0.5, 1 - 1e-6, 1 - 2.0**-40])
def test_quantiles_far_out(u: float) -> None:
    mean = np.array([0.0, 1e-3, 0.5, 3.9, 4.0, 4.1, 20.0, 300.0, 1e5])
    at = np.full(mean.size, u)
    np.testing.assert_array_equal(chance.poisson(at, mean), stats.poisson.ppf(at, mean))
    trials = np.array([0, 1, 3, 50, 50, 1000, 1000, 10**6, 10**6])
    share = np.array([0.5, 0.3, 1.0, 0.05, 0.9, 0.003, 0.999, 1e-5, 0.3])
    found = chance.binomial(at, trials, share)
    np.testing.assert_array_equal(found, stats.binom.ppf(at, trials, share))


@settings(max_examples=200, deadline=None)
@given(
    u=st.floats(2.0**-53, 1 - 2.0**-40),
    n=st.integers(0, 3000),
    low=st.floats(0, 1),
    high=st.floats(0, 1),
)
def test_more_is_never_fewer(u: float, n: int, low: float, high: float) -> None:
    low, high = sorted((low, high))
    at, trials = np.array([u, u]), np.array([n, n])
    few, many = chance.binomial(at, trials, np.array([low, high]))
    assert 0 <= few <= many <= n
    few, many = chance.poisson(at, np.array([low, high]) * n)
    assert 0 <= few <= many


def test_nothing_drawn_for_nobody() -> None:
    none, whole = np.zeros(0), np.zeros(0, np.int64)
    assert chance.uniform(chance.keys(0, 0), 1, 0).shape == (0,)
    assert chance.poisson(none, none).shape == (0,)
    assert chance.binomial(none, whole, none).shape == (0,)


def test_uniform_numbers_lie_strictly_between_0_and_1() -> None:
    # The extremes of 52 bits, as the code makes them.
    low, high = 0.5 * 2.0**-52, (2.0**52 - 1 + 0.5) * 2.0**-52
    assert 0.0 < low < high < 1.0
    assert 0.0 < U.min() < U.max() < 1.0


@pytest.mark.statistical
def test_uniform_numbers_are_uniform_and_independent() -> None:
    # False alarms: 4 Kolmogorov-Smirnov p-values at 1e-4 and 6 correlations at 4.5 standard
    # errors, below 5e-4 in all; seeded.
    columns = [
        U,
        chance.uniform(KEYS, 20, 1),
        chance.uniform(KEYS, 21, 0),
        chance.uniform(chance.keys(1, N), 20, 0),
    ]
    for column in columns:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    off_diagonal = np.corrcoef(np.stack(columns))[np.triu_indices(4, 1)]
    assert np.abs(off_diagonal).max() < 4.5 / N**0.5


@pytest.mark.statistical
def test_streams_days_and_keys_next_to_each_other_are_unrelated() -> None:
    # False alarms: chi-square over 16 x 16 cells of neighbours, four p-values at 1e-4; seeded.
    grid = np.stack([chance.uniform(KEYS[:4000], 1, day) for day in range(50)])
    streams = np.stack([chance.uniform(KEYS[:4000], stream, 0) for stream in range(50)])
    seeds = np.stack([chance.uniform(chance.keys_of(np.arange(200_000)), 1, 0)])
    pairs = [
        (grid[1:], grid[:-1]),
        (grid[:, 1:], grid[:, :-1]),
        (streams[1:], streams[:-1]),
        (seeds[:, 1:], seeds[:, :-1]),
    ]
    for one, other in pairs:
        cells = np.histogram2d(one.ravel(), other.ravel(), bins=16, range=[[0, 1], [0, 1]])[0]
        assert stats.chisquare(cells.ravel()).pvalue > 1e-4


def test_a_number_belongs_to_its_key_stream_and_day() -> None:
    some = np.array([5, 17, 3])
    np.testing.assert_array_equal(chance.uniform(KEYS[some], 20, 0), U[some])
    days = np.array([3, 0, 8])
    one_by_one = [chance.uniform(KEYS[i : i + 1], 2, int(day))[0] for i, day in enumerate(days)]
    np.testing.assert_array_equal(chance.uniform(KEYS[:3], 2, days), one_by_one)
    # More listings leave the first ones what they are.
    np.testing.assert_array_equal(chance.keys(9, 5), chance.keys(9, 50)[:5])
    assert np.unique(np.concatenate([chance.keys(s, 1000) for s in range(20)])).size == 20_000


def test_one_alone_is_one_among_many_to_the_last_bit() -> None:
    mean, trials, share = U[:300] * 80, (U[:300] * 900).astype(np.int64), U[500:800]
    normal = chance.normal(KEYS[:300], 3, 4)
    poisson, binomial = chance.poisson(U[:300], mean), chance.binomial(U[:300], trials, share)
    for row in range(300):
        one = slice(row, row + 1)
        assert chance.normal(KEYS[one], 3, 4)[0] == normal[row]
        assert chance.poisson(U[one], mean[one])[0] == poisson[row]
        assert chance.binomial(U[one], trials[one], share[one])[0] == binomial[row]


@pytest.mark.parametrize("seed", [0, 2**64 + 1, 2**200])
def test_any_seed_from_0_gives_keys(seed: int) -> None:
    assert np.unique(chance.keys(seed, 100)).size == 100


def test_negative_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="non-negative"):
        chance.keys(-1, 3)
