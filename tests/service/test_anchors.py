"""What demand curves are relative to: the guess, until a listing's own sales are."""

import numpy as np
import pytest

from service import learning
from service.sales import import_sales
from service.tables import SalesTable

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP"}


def _price(drive, bandit, listing_id="mug", **flags):
    return drive.prices(bandit, {"listing_id": listing_id}, **flags)[0]


def _report(drive, bandit, decision, impressions, units):
    told = {"outcome_id": "1", "impressions": impressions, "units": units}
    drive.outcomes(bandit, {"decision_id": decision["decision_id"], **told})


def _best(drive, bandit, listing_id="mug"):
    decision = _price(drive, bandit, listing_id, explore=False, record=False)
    return decision["price"], decision["ladder"]


@pytest.mark.parametrize("before", [{"reference_price": 1299}, {}], ids=["mistyped", "unknown"])
@pytest.mark.parametrize("currency", ["GBP", "JPY"])
def test_a_listing_corrected_before_its_first_sale_is_priced_as_if_never_mistyped(
    open_bandit, drive, before, currency
):
    bandit = open_bandit()
    mug = {**MUG, "currency": currency}
    right = {"reference_price": 12.99 if currency == "GBP" else 2000}
    drive.listings(bandit, {**mug, **before})
    wrong = _price(drive, bandit)
    drive.listings(bandit, {**mug, **right}, {**mug, **right, "listing_id": "fresh"})
    assert _best(drive, bandit) == _best(drive, bandit, "fresh")
    assert _price(drive, bandit)["ladder"] != wrong["ladder"]
    # what the wrong price taught is about the same curves
    _report(drive, bandit, wrong, 10, 0)
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(right["reference_price"]))
    assert 1 / 3 < _best(drive, bandit)[0] / _best(drive, bandit, "fresh")[0] < 3


def test_a_report_of_nothing_is_no_evidence(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    _report(drive, bandit, _price(drive, bandit), 0, 0)
    assert np.isnan(bandit.anchors(np.array([0]))).all()
    bandit.refresh()
    right = {**MUG, "reference_price": 12.99}
    drive.listings(bandit, right, {**right, "listing_id": "fresh"})
    assert _best(drive, bandit) == _best(drive, bandit, "fresh")


def test_an_anchor_stays_once_there_is_evidence(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 10})
    _report(drive, bandit, _price(drive, bandit), 100, 3)
    before = bandit.catalogue.anchor[:1].copy()
    drive.listings(bandit, {**MUG, "reference_price": 30})
    _report(drive, bandit, _price(drive, bandit), 100, 3)
    np.testing.assert_array_equal(bandit.catalogue.anchor[:1], before)
    np.testing.assert_array_equal(bandit.anchors(np.array([0])), before)


@pytest.mark.parametrize("snapshot", [False, True], ids=["whole log", "snapshot"])
def test_anchors_that_moved_are_those_of_a_restart_and_a_replay(bandit_on, drive, snapshot):
    bandit = bandit_on()
    names = ["mug", "sold", "quiet"]
    for reference in (1299, 12.99, 13.5):  # the last is hardly another guess
        drive.listings(
            bandit, *({**MUG, "listing_id": n, "reference_price": reference} for n in names)
        )
        decisions = drive.prices(bandit, *({"listing_id": n} for n in names))
        if reference == 1299:
            first_at = bandit.catalogue.first_at[:3].copy()
        elif reference == 12.99:
            _report(drive, bandit, decisions[1], 200, 5)
            if snapshot:
                bandit.snapshot()
    _report(drive, bandit, decisions[0], 300, 4)
    catalogue = bandit.catalogue
    logged = catalogue.anchor[:3].copy()
    np.testing.assert_allclose(logged, np.log(12.99))
    np.testing.assert_array_equal(catalogue.first_at[:3], first_at)
    rebuilt, _ = learning.rebuild(bandit.fold, bandit.log, catalogue)
    assert learning.difference(bandit.fold, rebuilt) < 1e-9
    bandit.refresh()
    before = [_best(drive, bandit, name) for name in names]
    bandit._since_snapshot = 0  # as a kill would
    bandit.close()
    again = bandit_on()
    np.testing.assert_array_equal(again.catalogue.anchor[:3], logged)
    np.testing.assert_array_equal(again.catalogue.first_at[:3], first_at)
    assert np.isnan(again.anchors(np.arange(3))).tolist() == [False, False, True]
    assert learning.difference(again.fold, rebuilt) < 1e-9
    assert [_best(drive, again, name) for name in names] == before


def test_recorded_sales_mend_an_anchor_that_a_mistyped_price_left(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    _price(drive, bandit)
    at_us, price = np.array([1_750_000_000_000_000]), np.array([12.5])
    sold = SalesTable(["mug"], at_us, price, np.array([5]), np.array([100.0]), [])
    bandit.carry_out(import_sales, [sold])
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(12.5))
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    assert _best(drive, bandit)[0] < 40
