import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits import Estimates


@settings(deadline=None)
@given(
    mean=st.floats(1e-9, 10.0),
    ratio=st.floats(0.0, 1e6),
    sds=st.lists(st.floats(-3.0, 3.0), min_size=2, max_size=2),
)
def test_quantiles_rise_with_the_deviations_asked_for(mean, ratio, sds):
    estimates = Estimates(*np.array([[[mean]], [[mean * ratio]], [[0.0]], [[0.0]]]))
    low, high = (estimates.quantile(at)[0, 0] for at in sorted(sds))
    assert 0 <= low <= high
    assert np.isfinite(high)
    assert estimates.quantile(0.0)[0, 0] <= mean * (1 + 1e-9)


def test_a_quantile_by_hand():
    # log-normal with log mean 0 and log deviation 0.5
    mean = np.exp(0.125)
    sd = mean * np.sqrt(np.expm1(0.25))
    found = Estimates(*np.array([[[mean]], [[sd]], [[0.0]], [[0.0]]])).quantile(-2.0)
    assert found[0, 0] == pytest.approx(np.exp(-1.0))


@settings(deadline=None)
@given(mean=st.floats(1e-9, 10.0), ratio=st.floats(0.0, 1e6), sds=st.floats(-3.0, 3.0))
def test_quantiles_are_those_of_a_log_normal(mean, ratio, sds):
    quantile = Estimates(*np.array([[[mean]], [[mean * ratio]], [[0.0]], [[0.0]]])).quantile
    median, asked = quantile(0.0)[0, 0], quantile(sds)[0, 0]
    assert np.isfinite([median, asked]).all()
    assert 0 < median <= mean * (1 + 1e-9)
    # the log of a quantile is as far from the median's as the deviations say
    assert np.log(asked / median) * np.sign(sds) >= -1e-9
    assert np.log(quantile(-sds)[0, 0] * asked) == pytest.approx(2 * np.log(median), abs=1e-6)
