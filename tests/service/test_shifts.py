"""What all listings are worth is logged with outcomes, replayed, and known to a start."""

import numpy as np
import pytest
import sqlalchemy as sa
from told_days import DAY_US, FIRST, clock_of, logged, sell

from service import insight, learning, log

TURN, DAYS = 9, 17
IDS = [f"l{i}" for i in range(96)]
LESS = 0.6


@pytest.fixture
def clock(monkeypatch):
    return clock_of(monkeypatch)


@pytest.fixture
def lived(bandit_on, drive, clock):
    """Nine days, and eight on which all is worth three fifths of it; what was told last."""
    clock(0)
    bandit, draws = bandit_on(), np.random.default_rng(7)
    known = {"currency": "GBP", "unit_cost": 4, "reference_price": 10}
    drive.listings(bandit, *({"listing_id": i, "title": f"mug {i}", **known} for i in IDS))
    keen = draws.lognormal(0.0, 0.35, len(IDS))
    for day in range(DAYS):
        clock(day)
        value = 10 * (LESS if day >= TURN else 1.0)

        def units_at(price, value=value):
            return draws.poisson(1500 * 0.1 * np.exp(-2 * keen * (price / value - 1)))

        told = sell(bandit, drive, IDS, 1500, units_at)
        if day in (0, 1, 2, 5, 8):
            bandit.refresh()
    return bandit, told


def test_worths_are_logged_and_prices_follow_them(lived):
    bandit, _ = lived
    worth = logged(bandit, log.outcomes.c.worth, (DAYS, len(IDS)))
    assert np.abs(np.median(worth[:TURN], axis=1)).max() < 0.1
    assert (np.median(worth[-3:], axis=1) < -0.15).all()
    elasticity = logged(bandit, log.decisions.c.elasticity, (DAYS, len(IDS)))
    assert ((elasticity > 0.2) & (elasticity <= 8.0)).all()
    price = logged(bandit, log.decisions.c.price, (DAYS, len(IDS)))
    assert np.median(price[-1]) < 0.9 * np.median(price[TURN - 1])


def test_worths_are_replayed_as_they_were_logged(lived):
    bandit, _ = lived
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12
    at = np.array([(FIRST + DAYS) * DAY_US])
    assert anew.policy.shift.forecast(at) == pytest.approx(bandit.policy.shift.forecast(at))
    # own evidence reads prices beside what listings were worth
    with bandit.log.transaction() as conn:
        conn.execute(log.outcomes.update().values(worth=None))  # as earlier versions did
        conn.execute(log.decisions.update().values(elasticity=None))
    plain, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, plain) > 0.01
    assert plain.policy.shift.forecast(at).tolist() == [0.0]


def test_a_start_knows_worths_and_prices_alike(lived, bandit_on, drive):
    bandit, _ = lived
    at = np.arange(FIRST, FIRST + DAYS + 3) * DAY_US
    asked = [{"listing_id": i} for i in IDS]
    bandit.snapshot()
    before = bandit.policy.shift.forecast(at)
    prices = [d["price"] for d in drive.prices(bandit, *asked, explore=False, record=False)]
    bandit.close()
    again = bandit_on()
    np.testing.assert_array_equal(again.policy.shift.forecast(at), before)
    again_asked = drive.prices(again, *asked, explore=False, record=False)
    assert [d["price"] for d in again_asked] == prices


def test_a_correction_is_of_the_worth_that_was_told_first(lived, drive, clock):
    bandit, told = lived
    clock(DAYS)
    mine = told[0]
    assert drive.outcomes(bandit, {**mine, "impressions": 1700})["corrected"] == 1
    with bandit.log.engine.connect() as conn:
        of_mine = log.outcomes.c.decision_id == mine["decision_id"]
        found = conn.execute(sa.select(log.outcomes.c.worth).where(of_mine)).scalars().all()
    assert found[0] == found[1] < -0.1
    # and back again: nothing is left of it
    sums = bandit.policy.evidence.sums.clone()
    drive.outcomes(bandit, {**mine, "impressions": 20_000})
    drive.outcomes(bandit, {**mine, "impressions": 1700})
    np.testing.assert_allclose(bandit.policy.evidence.sums, sums, rtol=1e-9, atol=1e-6)


def test_a_demand_curve_s_parts_add_up_where_worths_have_moved(lived, clock):
    bandit, _ = lived
    clock(DAYS)
    told = insight.demand(bandit, IDS[0])
    assert 0.4 < told["today"]["worth"] < 0.9
    assert 0.4 < told["today"]["demand"] < 1.5
    for point in told["curve"]:
        estimate = point["units_per_impression"]["estimate"]
        assert sum(point["contributions"].values()) == pytest.approx(estimate)
