import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits.doubt import Doubt


def drawn(n, seed, slope=(0.5, -0.3)):
    """Features, and errors whose log standard deviation is -1 and the features' part."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 2))
    return x, np.exp(-1.0 + x @ np.array(slope)) * rng.standard_normal(n)


@pytest.mark.statistical
def test_the_spread_of_errors_is_found():
    # seeded: 20,000 errors tell a slope to within 0.005
    x, error = drawn(20_000, 0)
    doubt = Doubt.fit(x, error, float(error.std()))
    np.testing.assert_allclose(doubt.slope, [0.5, -0.3], atol=0.02)
    truth = np.exp(-1.0 + np.array([0.5, -0.3]) @ [1.0, 1.0])
    assert doubt.of(np.array([[1.0, 1.0]]))[0] == pytest.approx(truth, rel=0.03)


def test_it_is_where_the_likelihood_is_highest():
    x, error = drawn(400, 1)
    usual = float(error.std())
    best = Doubt.fit(x, error, usual)

    def penalised(level, slope):
        scale = x.std(0) + 1e-3
        log_sd = level + (x - best.centre) @ slope
        loss = (log_sd + 0.5 * (error * np.exp(-log_sd)) ** 2).sum()
        return loss + 30.0 * ((level - np.log(usual)) ** 2 + ((slope * scale) ** 2).sum())

    least = penalised(best.level, best.slope)
    for step in (-0.02, 0.02):
        assert penalised(best.level + step, best.slope) > least
        for which in range(2):
            assert penalised(best.level, best.slope + step * np.eye(2)[which]) > least


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_learn_from_leaves_what_was_told(n):
    x, _ = drawn(n, 2)
    doubt = Doubt.fit(x, np.full(n, 0.3), 0.3)
    np.testing.assert_allclose(doubt.of(np.zeros((3, 2))), 0.3, rtol=1e-9)


def test_unknown_features_are_the_usual_ones():
    x, error = drawn(500, 3)
    said = Doubt.fit(x, error, 0.7).of(np.array([[np.nan, 0.0], [0.0, np.nan]]))
    assert said.tolist() == [0.7, 0.7]


def test_features_never_seen_make_nothing_certain_and_nothing_worthless():
    x, error = drawn(500, 4)
    doubt = Doubt.fit(x, error, 0.4)
    said = doubt.of(np.array([[1e9, 0.0], [-1e9, 0.0]]))
    assert said.tolist() == pytest.approx([1.6, 0.1])


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 40),
    scale=st.sampled_from([0.0, 1e-9, 1.0, 1e6]),
    wrong=st.sampled_from([0.0, 1e-9, 1.0, 1e6]),
    usual=st.sampled_from([1e-6, 0.5, 10.0]),
)
def test_it_says_numbers_whatever_it_is_told(seed, n, scale, wrong, usual):
    rng = np.random.default_rng(seed)
    x = scale * rng.standard_normal((n, 2))
    said = Doubt.fit(x, wrong * rng.standard_normal(n), usual).of(rng.standard_normal((5, 2)))
    assert np.isfinite(said).all()
    assert ((said >= usual / 4.001) & (said <= usual * 4.001)).all()
