"""What a sale is worth is the seller's to say."""

import numpy as np
import pytest

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "unit_cost": 3,
       "reference_price": 5}  # fmt: skip
WEIGHTS = {"profit": 1, "units": 0.5}


def _best(shop, **fields):
    """The decision on a listing of its own, without exploration or a trace."""
    return shop.decide({"listing": {**MUG, **fields}}, explore=False, record=False)[0]


def _sell(shop, seed=1):
    """Some days of sales whose demand falls with price."""
    rng = np.random.default_rng(seed)
    shop.register(MUG)
    for decision in shop.decide(*[{"listing_id": "mug"}] * 30):
        units = int(rng.poisson(400 * 0.05 * np.exp(1.2 - 0.24 * decision["price"])))
        shop.report({"decision_id": decision["decision_id"], "outcome_id": "1",
                     "impressions": 400, "units": units})  # fmt: skip


def test_prices_fall_from_profit_over_revenue_to_units(shop):
    for known in (False, True):
        if known:
            _sell(shop)
        profit, mixed, revenue, units = (
            _best(shop, unit_cost=1, objective=objective)
            for objective in ("profit", {"profit": 1, "revenue": 1}, "revenue", "units")
        )
        assert profit["price"] >= mixed["price"] >= revenue["price"] > units["price"]
        assert units["arm"] == 0
        assert units["price"] >= 1
        assert _best(shop, unit_cost=1)["price"] == profit["price"]


def test_weights_and_names_say_the_same(shop):
    for name in ("profit", "revenue", "units"):
        named, weighed = _best(shop, objective=name), _best(shop, objective={name: 1})
        assert named == weighed
        assert named["objective"] == name
    given = _best(shop, objective={"units": 2, "profit": 0.5})
    assert given["objective"] == {"profit": 0.5, "revenue": 0, "units": 2}
    assert given["expected"]["gain_per_impression"] == pytest.approx(
        0.5 * given["expected"]["profit_per_impression"]
        + 2 * given["expected"]["units_per_impression"]
    )


def test_without_an_objective_decisions_are_as_ever(shop):
    shop.register(MUG, {**MUG, "listing_id": "aimed", "objective": "units"})
    alone = shop.decide({"listing_id": "mug"}, explore=False, record=False)[0]
    plain, aimed = shop.decide({"listing_id": "mug"}, {"listing_id": "aimed"}, explore=False)
    assert {k: v for k, v in plain.items() if k != "decision_id"} == alone
    assert not {"objective", "plan"} & set(plain)
    assert "gain_per_impression" not in plain["expected"]
    assert aimed["objective"] == "units"
    assert aimed["expected"]["gain_per_impression"] == pytest.approx(
        aimed["expected"]["units_per_impression"]
    )
    for decision, objective in ((plain, None), (aimed, "units")):
        detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
        assert detail.get("objective") == objective
        assert detail["expected"] == decision["expected"]


@pytest.mark.parametrize("cost", [{"unit_cost": 1.5}, {}])
def test_a_decision_says_later_what_its_objective_makes_of_it(shop, cost):
    bare = {**MUG, **cost, "objective": {"profit": 0.5, "revenue": 2, "units": 3}, "inventory": 9}
    shop.register({name: value for name, value in bare.items() if cost or name != "unit_cost"})
    decision = shop.decide({"listing_id": "mug"})[0]
    detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
    gain = decision["expected"].pop("gain_per_impression")
    assert detail["expected"].pop("gain_per_impression") == pytest.approx(gain)
    assert detail["expected"] == decision["expected"]


def test_an_unknown_cost_counts_as_nothing(shop):
    bare = {"listing_id": "bare", "title": "red ceramic mug", "currency": "GBP"}
    ladders = [
        shop.decide(
            {"listing": {**bare, **aim}}, {"listing": bare}, explore=False, record=False
        )[0]
        for aim in ({"objective": "profit"}, {"objective": "revenue"}, {})
    ]  # fmt: skip
    assert len({d["price"] for d in ladders}) == 1
    assert ladders[0]["expected"]["gain_per_impression"] == pytest.approx(
        ladders[0]["expected"]["profit_per_impression"]
    )


def test_demand_gains_by_the_objective(shop):
    shop.register(MUG, {**MUG, "listing_id": "aimed", "objective": WEIGHTS})
    plain, aimed = (
        shop.client.get(f"/v1/listings/{name}/demand").json() for name in ("mug", "aimed")
    )
    assert plain["objective"] == "profit"
    assert aimed["objective"] == {"profit": 1, "revenue": 0, "units": 0.5}
    for point in plain["curve"]:
        assert point["gain_per_impression"] == pytest.approx(point["profit_per_impression"])
    for point in aimed["curve"]:
        units, profit = point["units_per_impression"], point["profit_per_impression"]
        for end in ("estimate", "low", "high"):
            assert profit[end] == pytest.approx(units[end] * (point["price"] - 3))
            assert point["gain_per_impression"][end] == pytest.approx(
                profit[end] + 0.5 * units[end]
            )


@pytest.mark.parametrize("objective", ["revenue", "units", WEIGHTS])
def test_limits_hold_whatever_the_objective(shop, objective):
    low = {"listing_id": "low", "min_price": 4.2, "max_price": 4.8, "price_ending": 0.49}
    step = {"listing_id": "step", "max_step": 0.02}
    shop.register(*({**MUG, **rules, "objective": objective} for rules in (low, step, {})))
    for explore in (True, False):
        asked = [{"listing_id": name} for name in ("low", "step", "mug") for _ in range(5)]
        decisions = shop.decide(*asked, explore=explore, record=False)
        assert {d["price"] for d in decisions[:5]} == {4.49}
        assert all(4.9 <= d["price"] <= 5.1 for d in decisions[5:10])
        assert all(d["price"] >= 3 for d in decisions[10:])


def test_objectives_outlive_a_restart(shop_at, database_url):
    with shop_at(database_url=database_url) as shop:
        shop.register({**MUG, "objective": "units"},
                      {**MUG, "listing_id": "b", "objective": WEIGHTS})  # fmt: skip
        asked = [{"listing_id": "mug"}, {"listing_id": "b"}]
        before = shop.decide(*asked, explore=False, record=False)
        assert shop.client.get("/v1/listings/b").json()["objective"] == WEIGHTS
    with shop_at(database_url=database_url) as shop:
        assert shop.decide(*asked, explore=False, record=False) == before
        assert shop.client.get("/v1/listings/b").json()["objective"] == WEIGHTS
        shop.register(MUG)  # sent again without one
        assert "objective" not in shop.decide({"listing_id": "mug"})[0]


@pytest.mark.parametrize("rule", ["softmax", "inverse_gap", "thompson"])
def test_exploring_keeps_to_the_budget(shop_at, rule):
    with shop_at(rule=rule, budget=0.001, temperature=1.0, floor=0.5) as shop:
        shop.register(MUG)
        decisions = shop.decide(*[{"listing_id": "mug"}] * 5)
        details = [shop.client.get(f"/v1/decisions/{d['decision_id']}").json() for d in decisions]
        for decision, detail in zip(decisions, details, strict=True):
            best = shop.decide({"listing_id": "mug"}, explore=False, record=False)[0]
            greedy = detail["ladder"].index(best["price"])
            assert detail["propensities"][greedy] > 0.9
            assert 0 < decision["propensity"] <= 1
    with shop_at(rule=rule, temperature=1.0, floor=0.5, budget=1.0) as shop:
        decision = shop.decide({"listing_id": "mug"})[0]
        detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
        assert max(detail["propensities"]) < 0.8
