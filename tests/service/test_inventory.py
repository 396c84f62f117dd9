"""Stock that may run out, and a day after which nothing is sold."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from service import learning, pricing
from service.inventory import DAY_US
from service.pricebandit import now_us

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "unit_cost": 2,
       "reference_price": 5}  # fmt: skip
BUSY = {"market": {"traffic": 400}}
ASIDE = {"explore": False, "record": False}


def _best(shop, listing=None, **request):
    """The decision without exploration or a trace, on a listing of its own."""
    return shop.decide({"listing": {**MUG, **(listing or {})}, **BUSY, **request}, **ASIDE)[0]


def _in(**span):
    return (datetime.now(UTC) + timedelta(**span)).isoformat()


def test_more_stock_to_a_last_day_is_never_dearer(shop):
    free = _best(shop)
    amounts = (2, 10, 50, 100, 200, 400, 800, 3000, 10**9)
    prices = [_best(shop, inventory=units, periods_left=10)["price"] for units in amounts]
    assert prices[0] > 1.2 * free["price"]
    # by no more than a rung, of ladders that reach differently far
    assert (np.diff(np.log(prices)) < 0.05).all()
    # what is left over is worth nothing: ample stock takes in the most, and never below the cost
    assert MUG["unit_cost"] <= prices[-1] < 0.8 * free["price"]


def test_ample_stock_without_a_last_day_changes_nothing(shop):
    free, ample = _best(shop), _best(shop, inventory=10**9)
    plan = {"inventory": 10**9, "days": 30, "impressions_per_day": 400.0}
    assert ample == {**free, "plan": plan}


def test_the_price_falls_as_the_last_day_comes_near(shop):
    prices = [_best(shop, inventory=8, periods_left=days)["price"] for days in (60, 10, 3, 1)]
    assert prices == sorted(prices, reverse=True)
    assert prices[0] > prices[-1]
    by_day = [
        _best(shop, {"inventory": 8, "sell_by": _in(days=days)})["price"] for days in (60, 10)
    ]
    assert by_day == prices[:2]


@pytest.mark.parametrize(
    ("until", "days"),
    [
        (lambda: _in(hours=1), 1),
        (lambda: _in(hours=23), 1),
        (lambda: _in(hours=25), 2),
        (lambda: _in(days=9.5), 10),
        (lambda: datetime.now(UTC).date().isoformat(), 1),
        (lambda: (datetime.now(UTC).date() + timedelta(9)).isoformat(), 10),
        (lambda: "9999-12-31", 1_000_000),
        (lambda: None, 30),
    ],
)
def test_days_are_counted_to_the_last(shop, until, days):
    day = datetime.now(UTC).date()
    last = until()
    plan = _best(shop, {"inventory": 3, **({"sell_by": last} if last else {})})["plan"]
    if datetime.now(UTC).date() == day:  # else midnight has passed meanwhile
        assert plan == {"inventory": 3, "days": days, "impressions_per_day": 400.0}


def test_more_stock_is_never_much_dearer_nor_fewer_days(shop):
    shop.register({"listing_id": "vase", "title": "glass vase", "currency": "GBP",
                   "reference_price": 10})  # fmt: skip
    market = {"traffic": 3000}

    def prices(*plans):
        asked = [
            {"listing_id": "vase", "market": market, "inventory": units, "periods_left": days}
            for units, days in plans
        ]
        return np.array([d["price"] for d in shop.decide(*asked, explore=False, record=False)])

    by_stock = prices(*((units, 7) for units in range(1, 60)))
    by_days = prices(*((1, days) for days in range(60, 0, -1)))
    for falling in (by_stock, by_days):
        assert (falling[1:] / falling[:-1]).max() < 1.1
        assert falling[0] > 2 * falling[-1]


def test_of_prices_that_all_sell_out_for_the_same_gain_the_lowest_sells_soonest(shop):
    shop.register({"listing_id": "vase", "title": "glass vase", "currency": "GBP", "unit_cost": 3,
                   "reference_price": 10, "max_price": 15, "objective": "units"})  # fmt: skip
    (made,) = shop.decide({"listing_id": "vase"})
    sold = {"decision_id": made["decision_id"], "outcome_id": "1", "impressions": 2000, "units": 60}
    shop.report(sold)
    plans = [
        {"listing_id": "vase", "market": {"traffic": traffic}, "inventory": units,
         "periods_left": 200}
        for traffic in (100, 1e6)
        for units in (20, 50, 60, 100, 800)
    ]  # fmt: skip
    for made in shop.decide(*plans, explore=False):
        gains = shop.client.get(f"/v1/decisions/{made['decision_id']}").json()["expected_gains"]
        assert made["price"] == made["ladder"][0]
        assert gains == sorted(gains, reverse=True)
        assert gains[-1] > 0


def test_the_request_says_more_of_stock_than_the_listing(shop):
    listing = {"inventory": 500, "sell_by": "2999-01-31T12:00:00Z"}
    assert _best(shop, listing, inventory=4)["plan"]["inventory"] == 4
    assert _best(shop, listing, periods_left=7)["plan"]["days"] == 7
    assert _best(shop, listing, periods_left=0)["plan"]["days"] == 1
    assert "plan" not in _best(shop, {"sell_by": "2999-01-31"}, periods_left=7)
    shop.register({**MUG, **listing})
    known = {"listing_id": "mug", "inventory": 4, "periods_left": 7, **BUSY}
    decision = shop.decide(known, explore=False)[0]
    assert decision["price"] == _best(shop, inventory=4, periods_left=7)["price"]
    detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
    assert detail["plan"] == decision["plan"]
    assert decision["plan"] == {"inventory": 4, "days": 7, "impressions_per_day": 400.0}


def test_the_horizon_is_a_setting(shop_at):
    with shop_at(horizon_days=4) as shop:
        assert _best(shop, inventory=3)["plan"]["days"] == 4


def test_sold_out_is_priced_as_the_last_unit(shop):
    last, out = (_best(shop, inventory=units, periods_left=5) for units in (1, 0))
    assert out["price"] == last["price"] > _best(shop)["price"]
    assert out["plan"]["inventory"] == 0


def test_a_last_day_that_is_past_is_an_error_of_the_item(shop):
    over = {**MUG, "listing_id": "over", "inventory": 3, "sell_by": "2020-01-31T12:00:00Z"}
    older = {**MUG, "listing_id": "older", "sell_by": "2020-01-31"}
    assert shop.register(MUG, over, older)["errors"] == []
    answer = shop.price(*({"listing_id": name} for name in ("over", "mug", "older")))
    assert [d["listing_id"] for d in answer["decisions"]] == ["mug"]
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "sell_by"), (2, "sell_by")]
    words = "which is past: move it, or say periods_left in the request"
    assert answer["errors"][0]["message"] == f"sell_by is 2020-01-31T12:00:00Z, {words}"
    assert answer["errors"][1]["message"] == f"sell_by is 2020-01-31, {words}"
    assert shop.decide({"listing_id": "over", "periods_left": 2})[0]["plan"]["days"] == 2
    assert shop.client.get("/v1/listings/over/demand").status_code == 200
    for first in ("0001-01-01T00:00:00+23:59", "0001-01-01"):
        message = shop.price({"listing": {**MUG, "sell_by": first}}, **ASIDE)["errors"][0][
            "message"
        ]
        assert "sell_by is 0001-01-0" in message


def test_a_member_whose_last_day_is_past_leaves_its_family_alone(shop):
    members = [{**MUG, "listing_id": f"m{i}", "family": "mugs"} for i in range(3)]
    members[0]["sell_by"] = "2020-01-31"
    for member in members:
        member["inventory"] = 5
    shop.register(*members)
    answer = shop.price(*({"listing_id": m["listing_id"], **BUSY} for m in members))
    assert [e["index"] for e in answer["errors"]] == [0]
    assert len(answer["decisions"]) == 2
    assert len({d["price"] for d in answer["decisions"]}) == 1
    assert all(d["plan"]["inventory"] == 5 for d in answer["decisions"])


def test_limits_hold_whatever_the_stock(shop):
    rules = {
        "low": {"max_price": 5.2},
        "step": {"max_step": 0.02},
        "ending": {"price_ending": 0.49},
        "units": {"objective": "units", "min_price": 4.5},
    }
    shop.register(*({**MUG, "listing_id": name, **rule} for name, rule in rules.items()))
    holds = {
        "low": lambda p: p <= 5.2,
        "step": lambda p: 4.9 <= p <= 5.1,
        "ending": lambda p: round(p % 1, 2) == 0.49,
        "units": lambda p: p >= 4.5,
    }
    for units, days in ((0, 3), (1, 30), (5, 1), (10**12, 10**12)):
        asked = [
            {"listing_id": name, "inventory": units, "periods_left": days, **BUSY}
            for name in rules
            for _ in range(3)
        ]
        for explore in (True, False):
            for decision in shop.decide(*asked, explore=explore, record=False):
                assert all(map(holds[decision["listing_id"]], decision["ladder"]))
                assert decision["price"] >= MUG["unit_cost"]


def _report(shop, monkeypatch, days, impressions):
    """Decisions so many days ago, and outcomes that came of each the moment it was made."""
    for day in days:
        monkeypatch.setattr(pricing, "now_us", lambda ago=day: now_us() - ago * DAY_US)
        decision = shop.decide({"listing_id": "mug"})[0]
        shop.report({"decision_id": decision["decision_id"], "outcome_id": "1", "units": 1,
                     "impressions": impressions, "occurred_at": _in(days=-day)})  # fmt: skip


def _expected(shop, listing_id):
    asked = {"listing_id": listing_id, "inventory": 3}
    return shop.decide(asked, record=False)[0]["plan"]["impressions_per_day"]


def test_impressions_are_expected_as_they_were_seen(shop_at, database_url, monkeypatch):
    with shop_at(database_url=database_url) as shop:
        shop.register(MUG, {**MUG, "listing_id": "new"})
        assert _expected(shop, "mug") == 100  # nothing seen anywhere
        _report(shop, monkeypatch, (10, 6, 0), 2000)
        assert _expected(shop, "mug") == pytest.approx(600, rel=1e-3)
        assert _expected(shop, "new") == pytest.approx(600, rel=1e-3)  # as the catalogue's
        told = shop.decide({"listing_id": "mug", "inventory": 3, **BUSY}, record=False)[0]
        assert told["plan"]["impressions_per_day"] == 400
        seen = _expected(shop, "mug")
    with shop_at(database_url=database_url) as shop:
        assert _expected(shop, "mug") == seen


@pytest.mark.parametrize("slip", [{"impressions": 10**9}, {"days": 20_000}])
def test_a_slip_of_one_listing_is_nobody_elses_traffic(shop, monkeypatch, slip):
    names = [f"m{i}" for i in range(10)]
    shop.register(*({**MUG, "listing_id": name} for name in (*names, "new")))
    for name in names:
        decision = shop.decide({"listing_id": name})[0]["decision_id"]
        shop.report({"decision_id": decision, "outcome_id": "1", "impressions": 1000, "units": 1})
    assert _expected(shop, "new") == 1000
    shop.bandit.catalogue.first_at[0] -= slip.get("days", 0) * DAY_US
    more = {"outcome_id": "2", "impressions": slip.get("impressions", 0), "units": 0}
    shop.report({"decision_id": shop.decide({"listing_id": "m0"})[0]["decision_id"], **more})
    assert _expected(shop, "new") == 1000


def test_recorded_sales_count_from_the_first(open_bandit, drive):
    import numpy as np

    from service.sales import import_sales
    from service.tables import SalesTable

    bandit = open_bandit()
    drive.listings(bandit, MUG)
    at_us = np.array([30, 10, 20], np.int64) * 86_400_000_000
    history = SalesTable(
        ["mug"] * 3, at_us, np.full(3, 5.0), np.ones(3, np.int64), np.full(3, 400.0), []
    )
    bandit.carry_out(import_sales, [history])
    plan = drive.prices(bandit, {"listing_id": "mug", "inventory": 3})[0]["plan"]
    assert plan["impressions_per_day"] == pytest.approx(60)


@pytest.mark.parametrize("order", [[0, 1], [1, 0], ["priced", 0, 1], [1, "priced", 0]])
def test_records_count_from_the_first_in_whatever_order_they_come(bandit_on, drive, order):
    import numpy as np

    from service.sales import import_sales
    from service.tables import SalesTable

    bandit = bandit_on()
    drive.listings(bandit, MUG)
    today = now_us() // DAY_US
    at_us = (today - np.arange(60, 0, -1)) * DAY_US
    for part in order:
        if part == "priced":
            drive.prices(bandit, {"listing_id": "mug"})
            continue
        at = np.array_split(at_us, 2)[part]
        n = len(at)
        history = SalesTable(["mug"] * n, at, np.full(n, 5.0), np.full(n, 2), np.full(n, 100.0), [])
        bandit.carry_out(import_sales, [history])
    asked = {"listing_id": "mug", "inventory": 60, "periods_left": 10}
    made = drive.prices(bandit, asked, explore=False, record=False)[0]
    assert made["plan"]["impressions_per_day"] == pytest.approx(101.7, abs=0.2)
    first_at = bandit.catalogue.first_at[0]
    assert first_at == at_us[0]
    bandit.close()
    assert bandit_on().catalogue.first_at[0] == first_at


def test_days_count_from_the_first_outcome_where_a_clock_was_ahead(shop, monkeypatch):
    monkeypatch.setattr(pricing, "now_us", lambda: now_us() + 365 * DAY_US)
    shop.register({**MUG, "inventory": 30})
    decided = shop.decide({"listing_id": "mug"})[0]["decision_id"]
    monkeypatch.setattr(pricing, "now_us", now_us)
    for day in range(10):
        shop.report({
            "decision_id": decided, "outcome_id": f"{day}", "impressions": 100, "units": 1,
            "occurred_at": _in(days=day - 10),
        })  # fmt: skip
    assert _expected(shop, "mug") == pytest.approx(1000 / 9, rel=1e-3)


def test_hardly_any_traffic_is_planned_for_as_hardly_any(shop):
    prices = [
        _best(shop, inventory=1, periods_left=10, market={"traffic": traffic})["price"]
        for traffic in (1e-6, 1e-12, 1e-30)
    ]
    assert prices[0] == prices[1] == prices[2] > 2.5


def test_stock_outlives_a_restart(shop_at, database_url):
    listing = {**MUG, "inventory": 3, "sell_by": "2999-12-31"}
    timed = {**listing, "listing_id": "timed", "sell_by": "2999-12-31T12:00:00+02:00"}
    asked = [{"listing_id": name, **BUSY} for name in ("mug", "timed")]
    with shop_at(database_url=database_url) as shop:
        shop.register(listing, timed)
        before = shop.decide(*asked, **ASIDE)
        assert shop.client.get("/v1/listings/mug").json() == listing
    with shop_at(database_url=database_url) as shop:
        assert shop.decide(*asked, **ASIDE) == before
        assert shop.client.get("/v1/listings/mug").json() == listing
        assert shop.client.get("/v1/listings/timed").json() == timed


ONE_PRICE = {**MUG, "min_price": 5, "max_price": 5}


def _sold(bandit, drive, units, impressions=300, **request):
    """Decide, tell what came of it; the units per impression then expected at the same price."""
    (decision,) = drive.prices(bandit, {"listing_id": "mug", **request})
    told = {"outcome_id": "1", "impressions": impressions, "units": units}
    answer = drive.outcomes(bandit, {"decision_id": decision["decision_id"], **told})
    assert answer["errors"] == []
    return drive.prices(bandit, {"listing_id": "mug"}, **ASIDE)[0]


def _demand(decision):
    return decision["expected"]["units_per_impression"]


def test_what_nobody_could_buy_is_not_what_nobody_wanted(bandit_on, drive):
    bandit = bandit_on()
    drive.listings(bandit, ONE_PRICE)
    before = drive.prices(bandit, {"listing_id": "mug"}, **ASIDE)[0]
    nothing_left = _sold(bandit, drive, 0, inventory=0)
    assert _demand(nothing_left) == pytest.approx(_demand(before), rel=1e-6)
    some_left = _demand(_sold(bandit, drive, 6, inventory=100))
    sold_out = _demand(_sold(bandit, drive, 6, inventory=6))
    assert sold_out > 1.05 * some_left  # as many wanted one in part of the time
    anew, events = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert events == 3
    assert learning.difference(bandit.fold, anew) < 1e-9


def test_what_comes_back_was_sold_out_all_the_same(bandit_on, drive):
    bandit = bandit_on()
    listings = [{**ONE_PRICE, "listing_id": name} for name in ("sold", "back", "late")]
    drive.listings(bandit, *listings)
    asked = [{"listing_id": name} for name in ("sold", "back", "late")]
    made = drive.prices(bandit, *({**one, "inventory": 40} for one in asked))
    sold, back, late = (one["decision_id"] for one in made)

    def told(decision, name, impressions, units, returned=0):
        counts = {"impressions": impressions, "units": units, "returned_units": returned}
        return {"decision_id": decision, "outcome_id": name, **counts}

    drive.outcomes(bandit, told(sold, "1", 2000, 40), told(back, "1", 2000, 40, 1))
    drive.outcomes(bandit, told(late, "1", 2000, 40))
    drive.outcomes(bandit, told(late, "2", 0, 0, 1))
    whole, once, parts = map(_demand, drive.prices(bandit, *asked, **ASIDE))
    assert once == pytest.approx(parts, rel=1e-4)
    assert 0.9 * whole < once < whole  # one in forty came back
    anew, _ = learning.rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert learning.difference(bandit.fold, anew) < 1e-9


def test_those_who_look_are_counted_whatever_is_left(bandit_on, drive):
    bandit = bandit_on()
    drive.listings(bandit, ONE_PRICE)
    told = {"impressions": 5000, "inventory": 0}
    _sold(bandit, drive, 0, **told)
    (decision,) = drive.prices(bandit, {"listing_id": "mug", "inventory": 40})
    assert decision["plan"]["impressions_per_day"] > 1000
