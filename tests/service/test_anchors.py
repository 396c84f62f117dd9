"""What demand curves are relative to: the guess, until a listing's own sales are."""

import numpy as np
import pytest

from service import learning
from service.pricebandit import Pricebandit
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


def _sound(bandit):
    """Statistics in memory are those that the log gives."""
    rebuilt, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, rebuilt) < 1e-9


@pytest.mark.parametrize("when", ["at once", "from a snapshot", "killed"])
def test_a_price_corrected_after_visitors_came_is_priced_as_if_never_mistyped(
    bandit_on, drive, when
):
    bandit = bandit_on()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    for _ in range(3):
        _report(drive, bandit, _price(drive, bandit), 100, 0)
    if when == "from a snapshot":
        bandit.snapshot()
    right = {**MUG, "reference_price": 12.99}
    drive.listings(bandit, right, {**right, "listing_id": "fresh"})
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(12.99))
    _sound(bandit)
    if when != "at once":
        bandit._since_snapshot = 0  # as a kill would
        bandit.close()
        bandit = bandit_on()
        _sound(bandit)
    assert 0.5 < _best(drive, bandit)[0] / _best(drive, bandit, "fresh")[0] < 2
    _report(drive, bandit, _price(drive, bandit), 200, 9)
    _sound(bandit)


def test_a_price_corrected_before_the_first_outcome_comes_is_what_curves_are_relative_to(
    open_bandit, drive
):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    wrong = _price(drive, bandit)
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    _report(drive, bandit, wrong, 300, 0)
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(12.99))
    _sound(bandit)


def test_a_cost_corrected_moves_what_curves_are_relative_to_by_as_much(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "unit_cost": 650})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    before = bandit.anchors(np.array([0]))
    drive.listings(bandit, {**MUG, "unit_cost": 6.5})
    assert bandit.anchors(np.array([0])) == pytest.approx(before - np.log(100))
    _sound(bandit)


@pytest.mark.parametrize("reference", [1299, 12.99])
def test_a_price_that_the_cost_contradicts_is_not_asked_for_long(open_bandit, drive, reference):
    bandit, told = open_bandit(), {**MUG, "unit_cost": 6.5, "reference_price": reference}
    for _ in range(8):
        drive.listings(bandit, told)  # a catalogue is sent again and again
        decision = _price(drive, bandit, explore=False)
        _report(drive, bandit, decision, 200, 9 if decision["price"] < 15 else 0)
        bandit.refresh()
    assert _best(drive, bandit)[0] < 26


def test_what_was_paid_stays_within_reach_of_what_a_seller_says(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    for _ in range(4):
        _report(drive, bandit, _price(drive, bandit), 200, 9)
    before = bandit.anchors(np.array([0]))
    sums = bandit.policy.evidence.gather(np.array([0]))[0].clone()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    # what is known of demand is known where it was sold, at about 13
    units, _, revenue, _ = bandit.policy.evidence.gather(np.array([0]))[1][0].tolist()
    assert units == 36
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(revenue / units) + 2.0)
    _sound(bandit)
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    assert bandit.anchors(np.array([0])) == pytest.approx(before)
    again = bandit.policy.evidence.gather(np.array([0]))[0]
    np.testing.assert_allclose(again.numpy(), sums.numpy(), rtol=1e-12)


def test_a_listing_sold_for_pence_by_mistake_can_be_priced_right_again(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 0.13})
    _report(drive, bandit, _price(drive, bandit), 100, 60)
    right = {**MUG, "reference_price": 12.99, "unit_cost": 6.5}
    drive.listings(bandit, right, {**right, "listing_id": "fresh"})
    _sound(bandit)
    assert 0.4 < _best(drive, bandit)[0] / _best(drive, bandit, "fresh")[0] < 2.5


def test_recorded_sales_are_told_anew_where_a_price_is_corrected(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    at_us, price = np.full(2, 1_750_000_000_000_000), np.array([12.5, 900.0])
    shown = np.array([100.0, np.nan])
    sold = SalesTable(["mug", "mug"], at_us, price, np.array([5, 1]), shown, [])
    bandit.carry_out(import_sales, [sold])
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    assert bandit.anchors(np.array([0])) < np.log(100)
    _sound(bandit)


def test_a_state_prepared_meanwhile_tells_sales_anew_too(bandit_on, drive):
    bandit = bandit_on()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    prepared = Pricebandit.beside(bandit, bandit.encoder)
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    _report(drive, bandit, _price(drive, bandit), 100, 3)
    prepared.catch_up()
    assert learning.difference(bandit.fold, prepared.fold) < 1e-9
    _sound(prepared)
    np.testing.assert_array_equal(prepared.anchors(np.array([0])), bandit.anchors(np.array([0])))


def test_a_first_cost_brings_back_a_price_that_text_alone_led_astray(open_bandit, drive):
    bandit = open_bandit()
    table = {"title": "oak dining table", "currency": "GBP", "unit_cost": 200}
    drive.listings(
        bandit,
        MUG,
        *({**table, "listing_id": f"table {i}", "reference_price": 500} for i in range(5)),
    )
    for _ in range(3):
        _report(drive, bandit, _price(drive, bandit), 100, 0)
    right = {**MUG, "unit_cost": 0.5}
    drive.listings(bandit, right, {**right, "listing_id": "fresh"})
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(0.5) + bandit.guesses.markup)
    _sound(bandit)
    assert 0.5 < _best(drive, bandit)[0] / _best(drive, bandit, "fresh")[0] < 2


@pytest.mark.parametrize("killed", [False, True])
def test_a_price_follows_its_guess_once_a_wrong_cost_is_withdrawn(bandit_on, drive, killed):
    bandit = bandit_on()
    others = ({**MUG, "listing_id": f"mug {i}", "reference_price": 12.99} for i in range(5))
    drive.listings(bandit, {**MUG, "unit_cost": 3000}, *others)
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    drive.listings(bandit, MUG, {**MUG, "listing_id": "fresh"})
    before = bandit.anchors(np.array([0]))
    _best(drive, bandit)  # a what-if changes nothing
    np.testing.assert_array_equal(bandit.anchors(np.array([0])), before)
    # asked about twice, and beside one of which nothing was sold yet
    drive.prices(bandit, *({"listing_id": name} for name in ("mug", "fresh", "mug")))
    assert bandit.anchors(np.array([0])) == pytest.approx(np.log(12.99), abs=0.5)
    _sound(bandit)
    moved = bandit.anchors(np.array([0]))
    if killed:
        bandit._since_snapshot = 0
        bandit.close()
        bandit = bandit_on()
        _sound(bandit)
    np.testing.assert_array_equal(bandit.anchors(np.array([0])), moved)
    assert 0.4 < _best(drive, bandit)[0] / _best(drive, bandit, "fresh")[0] < 2.5


@pytest.mark.parametrize("state", ["killed", "prepared"])
def test_what_was_learned_of_a_mistyped_price_does_not_bring_it_back(bandit_on, drive, state):
    bandit = bandit_on()
    drive.listings(bandit, {**MUG, "reference_price": 1299})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    bandit.catalogue.learned_price[0] = bandit.anchors(np.array([0]))[0]
    bandit.snapshot()
    prepared = Pricebandit.beside(bandit, bandit.encoder)
    drive.listings(bandit, {**MUG, "reference_price": 12.99})
    right = bandit.anchors(np.array([0]))
    assert right == pytest.approx(np.log(12.99))
    if state == "killed":
        wanted = _best(drive, bandit)
        bandit._since_snapshot = 0
        bandit.close()
        prepared = bandit_on()
        assert _best(drive, prepared) == wanted
    else:
        prepared.catch_up(switching=True)
    for _ in range(2):
        np.testing.assert_array_equal(prepared.anchors(np.array([0])), right)
        _price(drive, prepared)
    _sound(prepared)


def test_what_a_price_followed_is_known_after_a_kill_though_the_listing_was_sent_again(
    bandit_on, drive
):
    bandit = bandit_on()
    drive.listings(bandit, {**MUG, "reference_price": 20})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    learned = bandit.anchors(np.array([0])) + 2.5
    bandit.catalogue.learned_price[:1] = learned
    bandit.snapshot()
    _price(drive, bandit)
    np.testing.assert_array_equal(bandit.anchors(np.array([0])), learned)
    drive.listings(bandit, MUG)
    bandit._since_snapshot = 0
    bandit.close()
    again = bandit_on()
    np.testing.assert_array_equal(again.catalogue.learned_price[:1], learned)
    _price(drive, again)
    np.testing.assert_array_equal(again.anchors(np.array([0])), learned)


def test_what_was_sold_for_pence_comes_back_as_it_sells_for_more(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "unit_cost": 0.003})
    _report(drive, bandit, _price(drive, bandit), 100, 30)
    drive.listings(bandit, {**MUG, "unit_cost": 6.5})
    for _ in range(3):
        _report(drive, bandit, _price(drive, bandit), 200, 40)
    _price(drive, bandit)
    wanted = np.log(6.5) + bandit.guesses.markup
    assert bandit.anchors(np.array([0])) == pytest.approx(wanted, abs=0.5)
    _sound(bandit)


def test_curves_follow_what_own_evidence_points_to_until_terms_say_otherwise(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(bandit, {**MUG, "reference_price": 20})
    _report(drive, bandit, _price(drive, bandit), 100, 0)
    bandit.refresh()
    before = bandit.anchors(np.array([0]))
    bandit.catalogue.learned_price[0] = before[0] + 1.4
    _price(drive, bandit)
    np.testing.assert_array_equal(bandit.anchors(np.array([0])), before)
    # as where it sells as well at the highest price that curves know
    bandit.catalogue.learned_price[0] = before[0] + 2.5
    _price(drive, bandit)
    assert bandit.anchors(np.array([0])) == pytest.approx(before + 2.5)
    _sound(bandit)
    drive.listings(bandit, {**MUG, "reference_price": 8})
    for _ in range(2):
        assert bandit.anchors(np.array([0])) == pytest.approx(np.log(8))
        _price(drive, bandit)
