import hashlib

import numpy as np
import pytest
import sqlalchemy as sa

from bandits import draw, uniforms
from service import log
from service.ids import as_words

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "unit_cost": 2}


def _detail(shop, decision):
    response = shop.client.get(f"/v1/decisions/{decision['decision_id']}")
    assert response.status_code == 200
    return response.json()


def test_a_decision_says_all_that_decided_it(shop_on):
    shop = shop_on
    shop.register({**MUG, "reference_price": 5, "max_price": 6, "price_ending": 0.49})
    decision = shop.decide({"listing_id": "mug", "unit": "u", "request_id": "r"})[0]
    detail = _detail(shop, decision)
    for field in ("decision_id", "listing_id", "request_id", "price", "currency", "arm", "ladder",
                  "propensity", "expected", "policy", "guardrails", "degraded"):  # fmt: skip
        assert detail[field] == decision[field], field
    assert detail["unit"] == "u"
    assert detail["unit_cost"] == 2
    assert detail["outcomes"] == []
    k = len(decision["ladder"])
    assert len(detail["scores"]) == len(detail["propensities"]) == k
    assert len(detail["expected_gains"]) == k
    assert detail["expected_gains"][detail["arm"]] == pytest.approx(
        detail["expected"]["profit_per_impression"]
    )
    assert detail["propensities"][detail["arm"]] == detail["propensity"]
    assert sum(detail["propensities"]) == pytest.approx(1, abs=1e-12)
    assert min(detail["propensities"]) > 0
    with shop.bandit.log.engine.connect() as conn:
        row = conn.execute(log.decisions.select()).one()
    assert detail["features_hash"] == hashlib.sha256(row.features).hexdigest()
    assert detail["features_version"] == row.features_of
    assert detail["model_version"].startswith(row.features_of)
    assert detail["decided_at"].endswith("Z")


def test_prices_are_scored_by_what_they_teach_where_impressions_are_known(shop):
    shop.register({**MUG, "reference_price": 5})

    def taught(decision):
        detail = _detail(shop, decision)
        return detail["scores"][detail["arm"]] - detail["expected_gains"][detail["arm"]]

    first = shop.decide({"listing_id": "mug"})[0]
    assert taught(first) == pytest.approx(0, abs=1e-9)  # how many will look is not known
    busy = shop.decide(*[{"listing_id": "mug", "market": {"traffic": 5000}}] * 20)
    assert max(taught(decision) for decision in busy) > 1e-3
    shop.report({"decision_id": first["decision_id"], "outcome_id": "1", "units": 3,
                 "impressions": 200})  # fmt: skip
    seen = shop.decide(*[{"listing_id": "mug"}] * 20)
    assert max(taught(decision) for decision in seen) > 1e-3


def _redrawn(detail):
    """The arm, from what the decision says of itself."""
    source = detail.get("drawn_with", detail["decision_id"])
    uniform = uniforms(as_words([source]))
    assert detail["uniform"] == float(uniform[0])
    return int(draw(np.array([detail["propensities"]]), uniform)[0])


def test_the_draw_can_be_recomputed(lively_shop):
    shop = lively_shop
    shop.register({**MUG, "reference_price": 5})
    decisions = shop.decide(*[{"listing_id": "mug"}] * 40)
    decisions += shop.decide({"listing_id": "mug"}, explore=False)
    arms = [_redrawn(_detail(shop, decision)) for decision in decisions]
    assert arms == [decision["arm"] for decision in decisions]
    assert len(set(arms)) > 1


def test_the_draw_of_a_family_can_be_recomputed_by_each_member(lively_shop):
    shop = lively_shop
    members = [
        {**MUG, "listing_id": f"m{i}", "family": "mugs", "reference_price": 5} for i in range(3)
    ]
    shop.register(*members)
    for week in range(10):
        asked = [{"listing_id": m["listing_id"], "unit": f"w{week}"} for m in members]
        decisions = shop.decide(*asked) + shop.decide(*asked)
        details = [_detail(shop, decision) for decision in decisions]
        assert [_redrawn(d) for d in details] == [d["arm"] for d in decisions]
        assert "drawn_with" not in details[0]
        assert details[1]["drawn_with"] == details[2]["drawn_with"] == details[0]["decision_id"]
        assert details[0]["family"] == "mugs"


def test_what_is_no_decision_is_a_404_problem(standing_shop):
    for name in ("7", "00000000-0000-7000-8000-000000000000", "%00", "x" * 3000):
        response = standing_shop.client.get(f"/v1/decisions/{name}")
        assert response.status_code == 404
        assert response.headers["content-type"] == "application/problem+json"
    spelled = standing_shop.decision_id.upper()
    assert standing_shop.client.get(f"/v1/decisions/{spelled}").status_code == 200


def test_similar_listings_come_nearest_first_with_price_and_earnings(shop, titles):
    shop.register(
        *(
            {"listing_id": f"l{i}", "title": t, "currency": "GBP", "unit_cost": 1}
            for i, t in enumerate(titles)
        )
    )
    decision = shop.decide({"listing_id": "l1"})[0]
    shop.report(
        {"decision_id": decision["decision_id"], "outcome_id": "1", "impressions": 50, "units": 4}
    )
    near = shop.client.get("/v1/listings/l0/similar").json()["similar"]
    assert near[0]["listing_id"] == "l1"
    assert {n["listing_id"] for n in near} == {f"l{i}" for i in range(1, 8)}
    cosines = [n["similarity"] for n in near]
    assert cosines == sorted(cosines, reverse=True)
    assert all(-1 <= c <= 1.0001 for c in cosines)
    price = decision["price"]
    assert near[0] == {
        "listing_id": "l1", "title": titles[1], "similarity": near[0]["similarity"],
        "price": price, "currency": "GBP", "impressions": 50, "units": 4,
        "revenue": pytest.approx(4 * price), "profit": pytest.approx(4 * (price - 1)),
    }  # fmt: skip
    assert len(shop.client.get("/v1/listings/l0/similar?k=3").json()["similar"]) == 3


@pytest.mark.parametrize("call", ["", "/similar", "/demand"])
def test_what_is_no_listing_is_a_404_problem(standing_shop, call):
    response = standing_shop.client.get(f"/v1/listings/nowhere{call}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"
    assert "nowhere" in response.json()["detail"]


def _demand(shop, listing_id):
    answer = shop.client.get(f"/v1/listings/{listing_id}/demand").json()
    for point in answer["curve"]:
        units, profit = point["units_per_impression"], point["profit_per_impression"]
        assert 0 < units["low"] <= units["estimate"] <= units["high"]
        assert profit["low"] <= profit["estimate"] <= profit["high"]
        parts = point["contributions"]
        assert set(parts) == {"text", "market", "price", "own_sales"}
        assert sum(parts.values()) == pytest.approx(units["estimate"], rel=1e-4, abs=1e-9)
    prices = [point["price"] for point in answer["curve"]]
    assert prices == sorted(set(prices))
    return answer


def test_demand_is_split_into_parts_that_add_up(shop, titles):
    shop.register(
        *(
            {"listing_id": f"l{i}", "title": t, "currency": "GBP", "unit_cost": 1 + i}
            for i, t in enumerate(titles)
        )
    )
    before = _demand(shop, "l0")
    assert (before["impressions"], before["units"]) == (0, 0)
    assert before["objective"] == "profit"
    assert all(p["contributions"]["own_sales"] == pytest.approx(0) for p in before["curve"])
    decisions = shop.decide({"listing_id": "l0", "market": {"text": titles[6]}})
    shop.report(
        *(
            {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 2000, "units": 300}
            for d in decisions
        )
    )
    after = _demand(shop, "l0")
    assert (after["impressions"], after["units"]) == (2000, 300)
    assert any(abs(p["contributions"]["own_sales"]) > 1e-4 for p in after["curve"])
    assert after["model_version"] != before["model_version"]


def test_demand_holds_to_the_limits_and_names_its_objective(shop):
    shop.register({"listing_id": "bare", "title": "red ceramic mug", "currency": "GBP",
                   "max_price": 12, "min_price": 8})  # fmt: skip
    answer = _demand(shop, "bare")
    assert answer["objective"] == "revenue"
    assert all(8 <= point["price"] <= 12 for point in answer["curve"])
    for point in answer["curve"]:
        estimate = point["units_per_impression"]["estimate"]
        assert point["profit_per_impression"]["estimate"] == pytest.approx(
            estimate * point["price"]
        )


def test_demand_without_an_allowed_price_is_a_409_problem(shop):
    shop.register({**MUG, "max_price": 3, "max_step": 0.1, "reference_price": 9})
    response = shop.client.get("/v1/listings/mug/demand")
    assert response.status_code == 409
    assert "limits leave no price" in response.json()["detail"]


def test_looking_writes_nothing(shop):
    shop.register({**MUG, "reference_price": 5})
    writes = []
    sa.event.listen(
        shop.bandit.log.engine,
        "before_cursor_execute",
        lambda conn, cursor, statement, *_: writes.append(statement.split()[0]),
    )
    for call in ("", "/similar", "/demand"):
        assert shop.client.get(f"/v1/listings/mug{call}").status_code == 200
    assert set(writes) <= {"SELECT", "PRAGMA"}


def test_a_decision_shows_the_limits_it_was_made_under(shop_on):
    table = {"listing_id": "table", "title": "oak table", "currency": "GBP", "reference_price": 28}
    shop_on.register({**table, "min_price": 26, "max_price": 30, "max_step": 0.05},
                     {**table, "listing_id": "free"})  # fmt: skip
    asked = [{"listing_id": "table", "current_price": 27.5}, {"listing_id": "free"}]
    limited, free = shop_on.decide(*asked)
    shop_on.register({**table, "max_price": 15})
    shown = [
        shop_on.client.get(f"/v1/decisions/{made['decision_id']}").json()
        for made in (limited, free)
    ]
    assert (shown[0]["lowest"], shown[0]["highest"]) == (26.13, 28.87)
    assert shown[0]["lowest"] <= limited["price"] <= shown[0]["highest"]
    assert (shown[1]["lowest"], shown[1]["highest"]) == (0.03, 28_000)  # of what it refers to


def test_listings_are_listed_by_their_ids_page_by_page(shop_on):
    names = [f"m/{i:02}" for i in range(25)]
    sent = [
        {"listing_id": name, "title": "red ceramic mug", "currency": "GBP", "sell_by": "2030-01-31"}
        for name in names
    ]
    shop_on.register(*reversed(sent))
    shop_on.client.delete("/v1/listings/m/07")
    del sent[7]
    first = shop_on.client.get("/v1/listings?limit=10").json()
    assert first == {"listings": sent[:10], "next": "m/10"}
    second = shop_on.client.get("/v1/listings", params={"limit": 14, "after": first["next"]}).json()
    assert second == {"listings": sent[10:]}
    assert shop_on.client.get("/v1/listings").json()["listings"] == sent
    assert shop_on.client.get("/v1/listings?after=z").json() == {"listings": []}
    refused = shop_on.client.get("/v1/listings?limit=0")
    assert refused.status_code == 422
    assert "limit" in refused.json()["detail"]
    refused = shop_on.client.get("/v1/listings?after=m%00")
    assert refused.status_code == 422
    assert "after is 'm\\x00'" in refused.json()["detail"]
