from datetime import UTC, datetime, timedelta

import numpy as np
import orjson
import pytest
import torch

from service import learning, log, pricing
from service import outcomes as outcomes_module

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "unit_cost": 2}
NOWHERE = "00000000-0000-7000-8000-000000000000"


DECIDED = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def decision(shop_on, monkeypatch):
    shop_on.register({**MUG, "reference_price": 5})
    with monkeypatch.context() as patch:
        patch.setattr(pricing, "now_us", lambda: int(DECIDED.timestamp() * 1e6))
        return shop_on.decide({"listing_id": "mug"})[0]


def _outcome(decision, outcome_id, impressions=100, units=3, **more):
    return {
        "decision_id": decision["decision_id"],
        "outcome_id": outcome_id,
        "impressions": impressions,
        "units": units,
        **more,
    }


def _totals(shop):
    """Units, impressions, revenue and profit learned of the one listing."""
    return shop.bandit.policy.evidence.totals[0].tolist()


def test_parts_add_up_in_any_order(shop_on, decision):
    price = decision["price"]
    assert shop_on.report(_outcome(decision, "b", 60, 2), _outcome(decision, "a", 30, 0)) == {
        "accepted": 2, "corrected": 0, "duplicates": 0, "without_impressions": 0, "errors": [],
    }  # fmt: skip
    shop_on.report(_outcome(decision, "c", 10, 1, occurred_at="2026-01-31T12:00:00+02:00"))
    units, impressions, revenue, profit = _totals(shop_on)
    assert (units, impressions) == (3.0, 100.0)
    assert revenue == pytest.approx(3 * price)
    assert profit == pytest.approx(3 * (price - 2))
    came = shop_on.client.get(f"/v1/decisions/{decision['decision_id']}").json()["outcomes"]
    assert [o["outcome_id"] for o in came] == ["b", "a", "c"]
    assert came[2]["occurred_at"] == "2026-01-31T10:00:00Z"


def test_ten_parts_teach_all_listings_what_one_report_does(shop_on, decision):
    head = shop_on.bandit.policy.head
    parts = [_outcome(decision, f"part {i}", 10, int(i < 3)) for i in range(9)]
    shop_on.report(*parts[:5])
    shop_on.report(*parts[5:], _outcome(decision, "last", 10, 1, returned_units=1))
    found = head.gram.clone(), head.moment.clone()
    anew, _ = learning.rebuild(shop_on.bandit.fold, shop_on.bandit.log, shop_on.bandit.catalogue)
    assert learning.difference(shop_on.bandit.fold, anew) < 1e-12
    with shop_on.bandit.log.engine.begin() as conn:
        whole = {"impressions": 100, "units": 4, "returned_units": 1}
        conn.execute(log.outcomes.delete().where(log.outcomes.c.seq > 1))
        conn.execute(log.outcomes.update().values(whole))
    one, events = learning.rebuild(
        shop_on.bandit.fold, shop_on.bandit.log, shop_on.bandit.catalogue
    )
    assert events == 1
    np.testing.assert_allclose(found[0], one.policy.head.gram, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found[1], one.policy.head.moment, rtol=1e-9, atol=1e-12)


def test_an_outcome_may_come_much_later_and_after_newer_decisions(shop_on, decision):
    shop_on.decide(*[{"listing_id": "mug"}] * 5)
    shop_on.register({**MUG, "reference_price": 7, "unit_cost": 3})
    assert shop_on.report(_outcome(decision, "1"))["accepted"] == 1
    # with the price and cost of the time of the decision
    assert _totals(shop_on)[3] == pytest.approx(3 * (decision["price"] - 2))


@pytest.mark.parametrize("few", [100, 1])
def test_repeats_count_once_within_and_across_batches(shop_on, decision, few, monkeypatch):
    monkeypatch.setattr(outcomes_module, "_FEW", few)  # reports that are read at once
    one = _outcome(decision, "1")
    answer = shop_on.report(one, one, one, _outcome(decision, "2"))
    assert (answer["accepted"], answer["duplicates"]) == (2, 2)
    answer = shop_on.report(one, _outcome(decision, "3"))
    assert (answer["accepted"], answer["duplicates"]) == (1, 1)
    spelled = {**one, "decision_id": one["decision_id"].upper()}
    assert shop_on.report(spelled)["duplicates"] == 1
    assert _totals(shop_on)[:2] == [9.0, 300.0]
    assert shop_on.count("outcomes") == 3


def _told(shop):
    """Sums of all that outcomes taught: of the head, and of own evidence."""
    policy = shop.bandit.policy
    head = policy.head.gram.clone(), policy.head.moment.clone()
    return [*head, *policy.evidence.gather(np.arange(len(shop.bandit.catalogue)))[:2]]


def test_late_units_of_a_single_listing_need_impressions_of_other_outcomes(shop_on):
    shop_on.register({**MUG, "one_unit_per_impression": True})
    decision = shop_on.decide({"listing_id": "mug"})[0]
    shown = _outcome(decision, "shown", 10, 2)
    late = _outcome(decision, "late", 0, 8)
    assert shop_on.report(late)["errors"][0]["field"] == "units"
    assert shop_on.report(shown, late)["accepted"] == 2
    assert shop_on.report(late, shown)["duplicates"] == 2
    assert shop_on.report({**late, "units": 9})["errors"][0]["field"] == "units"
    assert shop_on.report({**late, "units": 7}, {**late, "units": 8})["corrected"] == 2
    assert _totals(shop_on)[:2] == [10.0, 10.0]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ((0, 0), "impressions"), ((4, 0), "impressions"), ((10, 6), "impressions"),
        ((2, 3), "units"), ((5, 0), None), ((10, 5), None), ((4, 4, 5), None),
    ],
)  # fmt: skip
def test_a_correction_takes_no_impressions_from_late_units_of_a_single_listing(
    shop_on, change, field
):
    shop_on.register({**MUG, "one_unit_per_impression": True})
    decision = shop_on.decide({"listing_id": "mug"})[0]
    first, late = _outcome(decision, "first", 10, 0), _outcome(decision, "late", 0, 5)
    assert shop_on.report(first)["accepted"] == 1
    assert shop_on.report(late)["accepted"] == 1
    names = ("impressions", "units", "returned_units")
    answer = shop_on.report({**first, **dict(zip(names, change, strict=False))})
    assert [e["field"] for e in answer["errors"]] == ([field] if field else [])
    assert answer["corrected"] == (field is None)


def test_what_a_single_listing_lacks_in_impressions_may_be_told(shop_on):
    shop_on.register(MUG)
    decision = shop_on.decide({"listing_id": "mug"})[0]
    assert shop_on.report(_outcome(decision, "1", 0, 5))["accepted"] == 1
    with shop_on.bandit.log.engine.begin() as conn:  # as earlier versions let it come about
        conn.execute(log.decisions.update().values(single=True))
    assert shop_on.report(_outcome(decision, "2", 3, 0))["accepted"] == 1
    answer = shop_on.report(_outcome(decision, "2", 2, 0))
    assert answer["errors"][0]["message"].startswith("impressions is 2, with which this decision")
    assert shop_on.report(_outcome(decision, "3", 2, 0))["accepted"] == 1


@pytest.mark.parametrize("few", [100, 1])
def test_an_outcome_told_wrong_is_corrected_as_if_it_had_been_told_right(
    shop_on, decision, few, monkeypatch
):
    monkeypatch.setattr(outcomes_module, "_FEW", few)  # reports that are read at once
    at = "2026-01-05T12:00:00Z"
    right = {**_outcome(decision, "1"), "occurred_at": at}
    other = {**_outcome(decision, "2"), "occurred_at": at}
    assert shop_on.report(right, other)["accepted"] == 2
    wanted = _told(shop_on)
    third = {**_outcome(decision, "3"), "occurred_at": at}
    wrong = {**third, "impressions": 10**8, "units": 0, "returned_units": 4}
    nothing = {**third, "impressions": 0, "units": 0, "returned_units": 0}
    answer = shop_on.report(wrong, {**wrong, "units": 7})
    assert (answer["accepted"], answer["corrected"], answer["duplicates"]) == (1, 1, 0)
    without_time = {name: value for name, value in nothing.items() if name != "occurred_at"}
    answer = shop_on.report(without_time, nothing)
    assert (answer["accepted"], answer["corrected"], answer["duplicates"]) == (0, 1, 1)
    for now, was in zip(_told(shop_on), wanted, strict=True):
        # of the square of 10⁸ impressions the last digits stay: 2 or 4, beside some 36,000
        torch.testing.assert_close(now, was, rtol=2e-4, atol=1e-6)
    fold, events = learning.rebuild(
        shop_on.bandit.fold, shop_on.bandit.log, shop_on.bandit.catalogue
    )
    assert events == 5
    assert learning.difference(fold, shop_on.bandit.fold) < 1e-9
    shown = shop_on.client.get(f"/v1/decisions/{decision['decision_id']}").json()["outcomes"]
    assert [(o["outcome_id"], o["revision"]) for o in shown] == [
        ("1", 0), ("2", 0), ("3", 0), ("3", 1), ("3", 2),
    ]  # fmt: skip
    assert sum(o["impressions"] for o in shown) == 2 * right["impressions"]
    assert {o["occurred_at"] for o in shown} == {shown[0]["occurred_at"]}


def test_the_largest_numbers_that_are_taken_leave_other_listings_their_prices(shop_on, decision):
    shop_on.register({**MUG, "listing_id": "jug", "reference_price": 5})
    aside = {"explore": False, "record": False}  # at the best price, not one that is drawn
    before = shop_on.decide({"listing_id": "jug"}, **aside)[0]["expected"]["units_per_impression"]
    told = []
    for impressions, units in ((1, 10**10), (10**10, 10**10), (1, 10**10)):
        told.append(_outcome(shop_on.decide({"listing_id": "mug"})[0], "1", impressions, units))
        assert shop_on.report(told[-1])["accepted"] == 1
        shop_on.decide({"listing_id": "jug"})
    anew, _ = learning.rebuild(shop_on.bandit.fold, shop_on.bandit.log, shop_on.bandit.catalogue)
    assert learning.difference(shop_on.bandit.fold, anew) < 1e-9
    shop_on.report(*({**outcome, "impressions": 100, "units": 3} for outcome in told))
    after = shop_on.decide({"listing_id": "jug"}, **aside)[0]["expected"]["units_per_impression"]
    assert after == pytest.approx(before, rel=0.1)


def test_units_of_which_nobody_says_how_many_looked_wait_for_it(shop_on):
    shop_on.register({**MUG, "reference_price": 5})
    decision = shop_on.decide({"listing_id": "mug"})[0]
    what_if = {"listing_id": "mug"}, {"explore": False, "record": False}
    told = [("a", 0, 900), ("b", 0, 0), ("c", 30_000, 3), ("d", 0, 1)]
    waiting, prices = [], []
    for name, impressions, units in told:
        prices.append(shop_on.decide(what_if[0], **what_if[1])[0]["price"])
        answer = shop_on.report(_outcome(decision, name, impressions, units))
        waiting.append(answer["without_impressions"])
    assert waiting == [1, 1, 0, 0]
    assert len(set(prices[:3])) == 1  # as if nothing had been told
    anew, _ = learning.rebuild(shop_on.bandit.fold, shop_on.bandit.log, shop_on.bandit.catalogue)
    assert learning.difference(shop_on.bandit.fold, anew) < 1e-9


def test_returns_fade_with_what_was_sold(shop_at, monkeypatch):
    with shop_at(half_life_days=7) as shop:
        shop.register({**MUG, "reference_price": 5})
        sold_at = datetime.now(UTC) - timedelta(days=14)
        sold_us = int(sold_at.timestamp() * 1e6)
        monkeypatch.setattr(pricing, "now_us", lambda: sold_us)
        decision = shop.decide({"listing_id": "mug"})[0]
        shop.report(_outcome(decision, "1", occurred_at=sold_at.isoformat()))
        other = shop.decide({"listing_id": "mug"})[0]
        shop.report(_outcome(other, "1", units=0))  # today, when what was sold counts a quarter
        units = shop.bandit.policy.evidence.sums[0, 0, -1]
        assert units == pytest.approx(3 / 4, rel=1e-3)
        shop.report(_outcome(decision, "back", impressions=0, units=0, returned_units=3))
        sums = shop.bandit.policy.evidence.sums[0, :, -1]
        np.testing.assert_allclose(sums, 0.0, atol=1e-4)


def test_units_that_come_late_need_no_impressions_of_their_own(shop_on, decision):
    assert shop_on.report(_outcome(decision, "1"))["errors"] == []
    late = {**_outcome(decision, "late"), "impressions": 0, "units": 2}
    assert shop_on.report(late)["accepted"] == 1
    assert _totals(shop_on)[:2] == [5.0, 100.0]


def test_one_outcome_id_may_serve_several_decisions(shop_on, decision):
    other = shop_on.decide({"listing_id": "mug"})[0]
    assert shop_on.report(_outcome(decision, "1"), _outcome(other, "1"))["accepted"] == 2


def test_an_unknown_decision_is_kept_for_inspection_and_not_learned(shop_on, decision):
    before = shop_on.client.get("/readyz").json()["model_version"]
    sent = [
        {"decision_id": name, "outcome_id": "1", "impressions": 9, "units": 1}
        for name in (NOWHERE, "nonsense")
    ]
    answer = shop_on.report(*sent)
    assert (answer["accepted"], answer["duplicates"]) == (0, 0)
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [
        (0, "decision_id"), (1, "decision_id"),
    ]  # fmt: skip
    assert "kept for inspection" in answer["errors"][0]["message"]
    kept = shop_on.rows("SELECT document FROM unmatched_outcomes ORDER BY seq")
    assert [orjson.loads(row["document"]) for row in kept] == sent
    assert shop_on.count("outcomes") == 0
    assert len(shop_on.bandit.policy.evidence) == 0
    assert shop_on.client.get("/readyz").json()["model_version"] == before


def test_a_what_if_has_no_id_to_report_on(shop_on, decision):
    assert "decision_id" not in shop_on.decide({"listing_id": "mug"}, record=False)[0]


def test_returns_are_taken_off(shop_on, decision):
    shop_on.report(_outcome(decision, "1", 100, 5))
    shop_on.report(_outcome(decision, "2", 1, 0, returned_units=2))
    units, impressions, revenue, _ = _totals(shop_on)
    assert (units, impressions) == (3.0, 101.0)
    assert revenue == pytest.approx(3 * decision["price"])
    assert shop_on.rows("SELECT returned_units FROM outcomes ORDER BY seq")[1] == {
        "returned_units": 2
    }
    assert len(shop_on.decide({"listing_id": "mug"})) == 1


def test_more_returns_than_sales_do_no_harm(shop_on, decision):
    shop_on.report(_outcome(decision, "1", 100, 0, returned_units=50))
    assert shop_on.decide({"listing_id": "mug"})[0]["price"] > 0
    assert shop_on.client.get("/v1/listings/mug/demand").json()["units"] == -50


def test_units_above_impressions_are_refused_where_one_is_sold_at_a_time(shop_on, decision):
    shop_on.register(
        {"listing_id": "single", "title": "oak dining table", "currency": "GBP",
         "one_unit_per_impression": True}
    )  # fmt: skip
    single = shop_on.decide({"listing_id": "single"})[0]
    answer = shop_on.report(
        _outcome(single, "1", 5, 6), _outcome(single, "2", 5, 5), _outcome(decision, "3", 5, 60)
    )
    assert answer["accepted"] == 2
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "units")]
    assert "units is 6, above 5 impressions" in answer["errors"][0]["message"]


def test_what_was_sold_is_judged_by_the_terms_that_it_was_priced_under(shop_on):
    table = {"listing_id": "t", "title": "oak dining table", "currency": "GBP"}
    one = {**table, "one_unit_per_impression": True}
    shop_on.register(table)
    before = shop_on.decide({"listing_id": "t"})[0]
    shop_on.register(one)
    after = shop_on.decide({"listing_id": "t"})[0]
    answer = shop_on.report(_outcome(before, "1", 5, 6), _outcome(after, "1", 5, 6))
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(1, "units")]
    shop_on.register(table)
    answer = shop_on.report(_outcome(after, "2", 5, 6))
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "units")]
    with shop_on.bandit.log.engine.begin() as conn:  # rows of earlier versions
        conn.execute(log.decisions.update().values(single=None))
    assert shop_on.report(_outcome(after, "3", 5, 6))["accepted"] == 1


def test_times_to_come_are_refused(shop_on, decision):
    def after(**span):
        return (datetime.now(UTC) + timedelta(**span)).isoformat()

    answer = shop_on.report(
        _outcome(decision, "1", occurred_at=after(hours=2)),  # a clock may run ahead a little
        _outcome(decision, "2", occurred_at=after(days=2)),
        _outcome(decision, "3", occurred_at="1969-12-31T23:59:59Z"),
        _outcome(decision, "4"),
    )
    assert answer["accepted"] == 2
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [
        (1, "occurred_at"), (2, "occurred_at"),
    ]  # fmt: skip


def test_times_before_the_decision_are_refused(shop_on, decision):
    first_at = shop_on.bandit.catalogue.first_at[0]
    answer = shop_on.report(
        _outcome(decision, "1", occurred_at="2026-01-04T01:00:00Z"),  # a clock may run behind
        _outcome(decision, "2", occurred_at="2026-01-03T23:00:00Z"),
        _outcome(decision, "3", occurred_at="1970-01-01T00:00:00Z"),
        _outcome(decision, "1", 200, occurred_at="1970-01-01T00:00:00Z"),
    )
    assert answer["accepted"] == 1
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [
        (1, "occurred_at"), (2, "occurred_at"), (3, "occurred_at"),
    ]  # fmt: skip
    assert answer["errors"][1]["message"] == (
        "occurred_at is 1970-01-01T00:00:00+00:00, before its decision at 2026-01-05T00:00:00Z: "
        "give the time of the sale, or none"
    )
    assert shop_on.bandit.catalogue.first_at[0] > first_at - 86_400_000_000


def test_a_time_to_come_does_not_make_the_model_forget(shop_at):
    with shop_at(half_life_days=30) as shop:
        shop.register({**MUG, "reference_price": 5})
        decision = shop.decide({"listing_id": "mug"})[0]
        shop.report(_outcome(decision, "1"))
        before = shop.bandit.policy.head.gram.clone()
        shop.report(_outcome(decision, "2", occurred_at="2999-01-01T00:00:00Z"))
        assert shop.bandit.policy.head.gram.equal(before)


def test_an_outcome_without_a_time_happened_when_it_came(shop_on, decision, monkeypatch):
    monkeypatch.setattr(outcomes_module, "now_us", lambda: 1_800_000_000_000_000)
    shop_on.report(_outcome(decision, "1"))
    row = shop_on.rows("SELECT occurred_at, received_at FROM outcomes")[0]
    assert set(row.values()) == {1_800_000_000_000_000}


def test_outcomes_of_deleted_listings_are_learned(shop_on, decision):
    assert shop_on.client.delete("/v1/listings/mug").status_code == 204
    assert shop_on.report(_outcome(decision, "1"))["accepted"] == 1
    assert _totals(shop_on)[:2] == [3.0, 100.0]


def test_sales_move_the_estimate(shop_on, decision):
    def estimate():
        curve = shop_on.client.get("/v1/listings/mug/demand").json()["curve"]
        return max(point["units_per_impression"]["estimate"] for point in curve)

    before = estimate()
    shop_on.report(_outcome(decision, "1", 10_000, 5_000))
    assert estimate() > 3 * before
