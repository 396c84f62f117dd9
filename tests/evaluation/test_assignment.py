import subprocess
import sys
from datetime import date, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.assignment import assign, assign_many

HALVES = {"control": 0.5, "treatment": 0.5}
UNITS = [f"listing-{i}" for i in range(20_000)]


def test_arm_is_the_same_in_another_process():
    here = "".join(assign_many("prices", UNITS[:64], "2026-03-01", HALVES))
    program = (
        "from evaluation.assignment import assign_many;"
        "print(''.join(assign_many('prices', [f'listing-{i}' for i in range(64)], '2026-03-01',"
        "{'treatment': 0.5, 'control': 0.5})))"
    )
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert there.stdout.strip() == here


def test_arm_never_changes_between_versions():
    drawn = assign_many("prices", UNITS[:8], "2026-03-01", HALVES)
    assert [arm[0] for arm in drawn] == list("ctttttct")


@given(st.text(min_size=1), st.text(min_size=1), st.integers())
def test_one_and_many_agree(experiment, unit, period):
    one = assign(experiment, unit, period, HALVES)
    assert one == assign_many(experiment, [unit, "other"], [period, 1], HALVES)[0]


def test_a_date_is_its_iso_string():
    for day in range(1, 29):
        as_text = assign("e", "u", f"2026-02-{day:02}", HALVES)
        assert assign("e", "u", date(2026, 2, day), HALVES) == as_text


def test_parts_are_not_run_together():
    one = assign_many("a", [f"b{i}" for i in range(200)], "c", HALVES)
    other = assign_many("ab", [f"{i}" for i in range(200)], "c", HALVES)
    assert (one != other).any()


@pytest.mark.statistical
def test_shares_are_kept_and_experiments_and_periods_are_independent():
    """Each of 5 counts within 4.5 standard deviations: false-alarm rate below 4e-5; seedless."""
    shares = {"a": 0.2, "b": 0.3, "c": 0.5}
    drawn = assign_many("one", UNITS, 0, shares)
    for arm, share in shares.items():
        slack = 4.5 * (share * (1 - share) / len(UNITS)) ** 0.5
        assert abs((drawn == arm).mean() - share) < slack
    base = assign_many("one", UNITS, 0, HALVES)
    for other in (assign_many("two", UNITS, 0, HALVES), assign_many("one", UNITS, 1, HALVES)):
        assert abs((base == other).mean() - 0.5) < 4.5 * 0.5 / len(UNITS) ** 0.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"experiment": ""}, r"experiment is '': give a name"),
        ({"unit": ""}, r"unit is '': give a name"),
        ({"period": ""}, r"period is '': give a name"),
        ({"period": datetime(2026, 3, 1, 12)}, r"period is .* the day or week"),
        ({"shares": {"a": 1.0}}, r"shares is .* at least two arms"),
        ({"shares": {"a": 0.5, "b": 0.6}}, r"shares sum to 1.1: divide"),
        ({"shares": {"a": 1.0, "b": 0.0}}, r"shares\['b'\] is 0.0: give a share above 0"),
        ({"shares": {"a": 0.5, "b": float("nan")}}, r"shares\['b'\] is nan"),
        ({"shares": {"a": 0.5, "": 0.5}}, r"give every arm a name"),
    ],
)
def test_bad_arguments_name_field_value_and_fix(change, message):
    good = {"experiment": "e", "unit": "u", "period": 1, "shares": HALVES}
    with pytest.raises(ValueError, match=message):
        assign(**{**good, **change})


def test_periods_that_do_not_match_units_are_refused():
    with pytest.raises(ValueError, match="periods holds 2 values for 3 units"):
        assign_many("e", ["a", "b", "c"], [1, 2], HALVES)


def test_no_units_no_arms():
    assert assign_many("e", [], 1, HALVES).shape == (0,)
    assert np.issubdtype(assign_many("e", [], 1, HALVES).dtype, np.str_)
