"""What a day is to the whole shop is logged with decisions and outcomes, and learned from."""

import numpy as np
import orjson
import pytest
import sqlalchemy as sa
from told_days import DAY_US, FIRST, clock_of, logged, sell

from service import learning, log, pricing, reading

IDS = [f"l{i}" for i in range(32)]
BUSY = 2.5


@pytest.fixture
def clock(monkeypatch):
    return clock_of(monkeypatch)


def _day(bandit, drive, clock, day, effect, draws):
    clock(day)

    def units_at(price):
        return draws.poisson(500 * 0.1 * np.exp(-2 * (price / 10 - 1)) * effect)

    return sell(bandit, drive, IDS, 500, units_at)


@pytest.fixture
def lived(bandit_on, drive, clock):
    """Ten usual days, two busy ones; what was told last, too."""
    clock(0)
    bandit, draws = bandit_on(), np.random.default_rng(7)
    known = {"currency": "GBP", "unit_cost": 3, "reference_price": 10}
    drive.listings(bandit, *({"listing_id": i, "title": f"mug {i}", **known} for i in IDS))
    told = []
    for day in range(12):
        told = _day(bandit, drive, clock, day, BUSY if day >= 10 else 1.0, draws)
        if day < 3:
            bandit.refresh()
    return bandit, told


def test_a_busy_day_is_logged_and_the_next_is_expected_to_be_one(lived):
    bandit, _ = lived
    shown = logged(bandit, log.outcomes.c.day_effect, (12, len(IDS)))
    assert np.abs(np.log(shown[4:10])).max() < 0.2
    np.testing.assert_allclose(shown[10:], BUSY, rtol=0.25)
    expected = logged(bandit, log.decisions.c.day_expected, (12, len(IDS)))
    assert (expected[0] == 1.0).all()
    assert np.abs(np.log(expected[5:11])).max() < 0.2
    assert (expected[11] > 1.1).all()
    # what is told of demand is told of today
    units = logged(bandit, log.decisions.c.units_per_impression, (12, len(IDS)))
    assert np.median(units[11]) > 1.1 * np.median(units[9])


def test_what_days_were_is_replayed_as_it_was_logged(lived, clock):
    bandit, _ = lived
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12
    at = np.array([(FIRST + 12) * DAY_US])
    assert anew.policy.days.forecast(at) == pytest.approx(bandit.policy.days.forecast(at))
    # own evidence reads busy days' impressions as of so many more
    exposures = bandit.policy.evidence.sums[:, 0, :164].sum().item()
    with bandit.log.transaction() as conn:
        conn.execute(log.outcomes.update().values(day_effect=None))  # as earlier versions did
    plain, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert exposures > 1.15 * plain.policy.evidence.sums[:, 0, :164].sum().item()


def test_a_start_knows_the_days(lived, bandit_on):
    bandit, _ = lived
    at = np.arange(FIRST, FIRST + 14) * DAY_US
    before = bandit.policy.days.forecast(at)
    bandit.close()
    again = bandit_on()
    np.testing.assert_array_equal(again.policy.days.forecast(at), before)


def test_a_correction_is_of_the_day_that_was_told_first(lived, drive, clock):
    bandit, told = lived
    clock(12)  # a usual day again, by the next outcomes
    mine = told[0]
    answer = drive.outcomes(bandit, {**mine, "impressions": 700})
    assert answer["corrected"] == 1
    with bandit.log.engine.connect() as conn:
        rows = conn.execute(
            sa.select(log.outcomes.c.impressions, log.outcomes.c.day_effect).where(
                log.outcomes.c.decision_id == mine["decision_id"]
            )
        ).all()
    assert [row.impressions for row in rows] == [500, 200]
    assert rows[0].day_effect == rows[1].day_effect
    # and back again: nothing is left of it
    sums = bandit.policy.evidence.sums.clone()
    drive.outcomes(bandit, {**mine, "impressions": 20_000})
    drive.outcomes(bandit, {**mine, "impressions": 700})
    np.testing.assert_allclose(bandit.policy.evidence.sums, sums, rtol=1e-9, atol=1e-6)


def test_parts_in_one_report_are_each_read_as_of_their_day(lived, drive, clock):
    bandit, _ = lived
    clock(12)
    decision = drive.prices(bandit, {"listing_id": IDS[0]})[0]
    part = {"decision_id": decision["decision_id"], "impressions": 100, "units": 5}
    drive.outcomes(bandit, *({**part, "outcome_id": str(i)} for i in range(4)))
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12


def test_sales_told_apart_from_impressions_make_no_quiet_day(lived, drive, clock):
    bandit, _ = lived
    clock(12)
    keys = [d["decision_id"] for d in drive.prices(bandit, *({"listing_id": i} for i in IDS))]
    shown = (
        {"decision_id": k, "outcome_id": "shown", "impressions": 500, "units": 0} for k in keys
    )
    drive.outcomes(bandit, *shown)
    sold = ({"decision_id": k, "outcome_id": "sold", "impressions": 0, "units": 40} for k in keys)
    drive.outcomes(bandit, *sold)
    o = log.outcomes.c
    with bandit.log.engine.connect() as conn:
        query = sa.select(o.day_effect).where(o.outcome_id == "shown")
        found = conn.execute(query).scalars().all()
        d = log.decisions.c
        expected = conn.execute(sa.select(d.day_expected).where(d.id.in_(keys))).scalars().all()
    # nothing is told of it yet, but for what others tell of worths
    assert sorted(found) == pytest.approx(sorted(expected), rel=0.02)
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12


def _kinds(bandit, drive, clock, days, draws):
    """Days on which mugs sell three times as well as jugs, from the fifth on."""
    kind = np.arange(len(IDS)) % 2
    names = [("mugs", "jugs")[k] for k in kind]
    known = {"currency": "GBP", "unit_cost": 3, "reference_price": 10}
    listings = [
        {"listing_id": i, "title": f"{name} {i}", "category": name, **known}
        for i, name in zip(IDS, names, strict=True)
    ]
    clock(0)
    drive.listings(bandit, *listings)
    for day in range(days):
        effect = np.where(kind == 0, 3.0, 1.0) if day >= 5 else np.ones(len(IDS))
        _day(bandit, drive, clock, day, effect, draws)
        if day < 3:
            bandit.refresh()
    return listings, kind


def test_days_of_a_category_are_its_own_logged_and_replayed(bandit_on, drive, clock):
    bandit = bandit_on()
    listings, kind = _kinds(bandit, drive, clock, 12, np.random.default_rng(8))
    shown = logged(bandit, log.outcomes.c.day_effect, (12, len(IDS)))
    ratio = shown[8:][:, kind == 0].mean() / shown[8:][:, kind == 1].mean()
    assert 1.7 < ratio < 3.6  # three, as far as sixteen listings tell
    expected = logged(bandit, log.decisions.c.day_expected, (12, len(IDS)))
    assert 1.5 < expected[11, kind == 0].mean() / expected[11, kind == 1].mean() < 3.6
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12
    # what a decision was of is logged with it, whatever its listing is by now
    moved = [{**one, "category": f"new {one['category']}"} for one in listings]
    drive.listings(bandit, *reversed(moved))
    clock(12)
    _day(bandit, drive, clock, 12, 1.0, np.random.default_rng(9))
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-12
    bandit.close()
    again = bandit_on()
    assert again.catalogue.category_code.keys() == {"mugs", "jugs", "new mugs", "new jugs"}
    anew, _ = learning.rebuild(again.fold, again.log, again.catalogue)
    assert learning.difference(again.fold, anew) < 1e-12


def test_a_start_knows_the_days_of_categories_whatever_their_order(bandit_on, drive, clock):
    bandit = bandit_on()
    listings, _ = _kinds(bandit, drive, clock, 8, np.random.default_rng(8))
    clock(8)
    asked = [{"listing_id": i} for i in IDS]
    aside = {"explore": False, "record": False}

    def told(one):
        return [d["expected"]["units_per_impression"] for d in drive.prices(one, *asked, **aside)]

    before = told(bandit)
    stranger = {**listings[0], "listing_id": "new", "category": "spoons"}
    items = reading.listings(orjson.dumps({"listings": [stranger]}))
    assert pricing.what_if(bandit, items)["decisions"][0]["price"] > 3
    drive.listings(bandit, {**listings[0], "listing_id": "first", "category": "aprons"})
    bandit.close()
    again = bandit_on()
    assert told(again) == pytest.approx(before, rel=1e-6)
