"""A/B tests in the service: who is charged what, and what the log says of it."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from evaluation.assignment import assign_many
from evaluation.experiments import compare
from service import experiment_report, experimenting, experiments, running
from service.cli import app
from service.experiments import CONTROL, TREATMENT

MONDAY = datetime(2026, 3, 2, 12, tzinfo=UTC)
TEST = {"name": "spring", "first_day": "2026-03-03"}


class Clock:
    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> int:
        return int(self.now.timestamp() * 1e6)

    def on(self, day: int) -> None:
        self.now = MONDAY + timedelta(day)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    for module in (
        "pricebandit",
        "pricing",
        "experimenting",
        "routes.experiments",
        "outcomes",
        "registering",
    ):
        monkeypatch.setattr(f"service.{module}.now_us", clock)
    return clock


def _catalogue(shop, n=20, **fields):
    listings = [
        {
            "listing_id": f"mug {i}",
            "title": "red ceramic mug",
            "currency": "GBP",
            "reference_price": 5 + i / 100,
            "unit_cost": 2,
            **fields,
        }
        for i in range(n)
    ]
    assert shop.register(*listings)["errors"] == []
    return [{"listing_id": one["listing_id"]} for one in listings]


def _start(shop, **changes):
    response = shop.post("/v1/experiments", {**TEST, **changes})
    assert response.status_code == 200, response.text
    return response.json()


def _sides(decisions):
    return {d["listing_id"]: d["policy"] for d in decisions}


def test_a_coin_decides_by_unit_and_day_who_is_charged_the_reference_price(lively_shop, clock):
    requests = _catalogue(lively_shop)
    answer = _start(lively_shop)
    assert (answer["state"], answer["listings"]) == ("waiting", 20)
    assert all("experiment" not in d for d in lively_shop.decide(*requests))
    seen = []
    for day in (1, 2):
        clock.on(day)
        decisions = lively_shop.decide(*requests)
        units = [f"listing {d['listing_id']}" for d in decisions]
        shares = {CONTROL: 0.5, TREATMENT: 0.5}
        coins = assign_many("spring", units, f"2026-03-0{2 + day}", shares)
        assert [d["policy"] for d in decisions] == coins.tolist()
        assert {d["experiment"] for d in decisions} == {"spring"}
        assert _sides(lively_shop.decide(*requests)) == _sides(decisions)
        for i, d in enumerate(decisions):
            if d["policy"] == CONTROL:
                assert (d["price"], d["propensity"], d["arm"]) == (5 + i / 100, 1.0, 0)
                assert d["ladder"] == [d["price"]]
            else:
                assert len(d["ladder"]) > 1
        seen.append(_sides(decisions))
    assert seen[0] != seen[1]
    assert {*seen[0].values()} == {CONTROL, TREATMENT}
    one = lively_shop.client.get(f"/v1/decisions/{decisions[0]['decision_id']}").json()
    assert (one["experiment"], one["policy"]) == ("spring", decisions[0]["policy"])


def test_a_week_keeps_each_unit_on_its_side(shop, clock):
    requests = _catalogue(shop)
    answer = _start(shop, period="week", first_day="2026-03-09", last_day="2026-03-22")
    assert (answer["first_day"], answer["last_day"]) == ("2026-03-09", "2026-03-22")
    weeks = []
    for days in (range(7, 14), range(14, 21)):
        sides = []
        for day in days:
            clock.on(day)
            sides.append(_sides(shop.decide(*requests)))
        assert all(side == sides[0] for side in sides)
        weeks.append(sides[0])
    assert weeks[0] != weeks[1]
    clock.on(21)
    assert all("experiment" not in d for d in shop.decide(*requests))


@pytest.mark.parametrize(
    ("limit", "price"),
    [
        ({"max_price": 4.5}, 4.5),
        ({"min_price": 7}, 7.0),
        ({"unit_cost": 6.01}, 6.01),
        ({"price_ending": 0.99}, 4.99),
        ({"currency": "JPY", "reference_price": 5.4}, 5.0),
    ],
)
def test_no_reference_price_breaks_a_limit(shop, clock, limit, price):
    requests = _catalogue(shop, **{"reference_price": 5, **limit})
    _start(shop)
    clock.on(1)
    control = [d for d in shop.decide(*requests) if d["policy"] == CONTROL]
    assert {d["price"] for d in control} == {price}


def test_a_step_leads_towards_the_reference_price(shop, clock):
    requests = _catalogue(shop, reference_price=5, max_step=0.1)
    _start(shop)
    clock.on(1)
    asked = [{**request, "current_price": 8} for request in requests]
    control = [d for d in shop.decide(*asked) if d["policy"] == CONTROL]
    assert {d["price"] for d in control} == {7.2}


def test_a_family_is_one_unit_where_it_has_one_reference_price(shop, clock):
    shop.register(
        *(
            {"listing_id": f"{family} {i}", "title": "red ceramic mug", "currency": "GBP",
             "family": family, **fields}
            for family, members in {
                **{f"like{n}": [{"reference_price": 5}] * 3 for n in range(8)},
                "unlike": [{"reference_price": 5}, {"reference_price": 6}],
                "unsaid": [{"reference_price": 5}, {}],
            }.items()
            for i, fields in enumerate(members)
        )
    )  # fmt: skip
    _start(shop)
    clock.on(1)
    asked = [{"listing_id": f"like{n} {i}"} for i in range(3) for n in range(8)]
    asked += [{"listing_id": f"{name} {i}"} for name in ("unlike", "unsaid") for i in range(2)]
    decisions = {d["listing_id"]: d for d in shop.decide(*asked)}
    sides = set()
    for n in range(8):
        mine = [decisions[f"like{n} {i}"] for i in range(3)]
        assert len({(d["policy"], d["price"], d["experiment"]) for d in mine}) == 1
        sides.add(mine[0]["policy"])
        if mine[0]["policy"] == CONTROL:
            assert mine[0]["price"] == 5
    assert sides == {CONTROL, TREATMENT}
    for name in ("unlike 0", "unlike 1", "unsaid 0", "unsaid 1"):
        assert decisions[name]["policy"] == TREATMENT
        assert "experiment" not in decisions[name]


def test_what_ifs_and_listings_without_a_reference_price_take_no_part(shop, clock):
    requests = _catalogue(shop)
    shop.register({"listing_id": "new", "title": "oak dining table", "currency": "GBP"})
    _start(shop)
    clock.on(1)
    assert all("experiment" not in d for d in shop.decide(*requests, record=False))
    assert "experiment" not in shop.decide({"listing_id": "new"})[0]


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"first_day": "2026-03-02"}, 422, "give 2026-03-03 or later"),
        ({"first_day": "2026-03-11", "period": "week"}, 422, "no Monday: give 2026-03-16"),
        ({"first_day": "2026-03-01", "period": "week"}, 422, "no Monday: give 2026-03-09"),
        ({"last_day": "2026-03-02"}, 422, "last_day is 2026-03-02, before first_day"),
        ({"share": 1.0}, 422, "share is 1.0: Input should be less than or equal to 0.99"),
        ({"last_day": "9999-12-31"}, 422, "give a day before the year 3000, or none"),
        ({"name": "a/../b"}, 422, "has . or .. between slashes"),
        ({"share": 0, "period": "month"}, 422, "period is 'month'"),
        ({"first_day": 20260303}, 422, "first_day is 20260303: not a day"),
        ({"days": 3}, 422, "days is not a field of this item"),
        ({"name": ""}, 422, "name is '': empty"),
        ({"name": "old"}, 409, "there is an experiment of this name"),
        ({}, 409, "experiment 'old' has days of it: stop that one"),
    ],
)
def test_what_cannot_be_begun_is_refused_with_the_fix(shop, clock, changes, status, said):
    _start(shop, name="old", first_day="2026-03-20")
    response = shop.post("/v1/experiments", {**TEST, **changes})
    assert response.status_code == status
    assert said in response.json()["detail"]
    assert len(shop.client.get("/v1/experiments").json()["experiments"]) == 1


def test_two_that_begin_in_one_transaction_are_told_apart(bandit_on, clock):
    bandit = bandit_on()
    asked = [experiments.Experiment(name, 0.5, "day", MONDAY.date() + timedelta(1), None)
             for name in ("a", "b")]  # fmt: skip
    with pytest.raises(Exception, match="experiment 'a' has days of it"):
        bandit.carry_out(experimenting.start, asked)
    assert bandit.experiments == []


def test_a_stopped_one_prices_no_more_and_lets_another_begin(shop, clock):
    requests = _catalogue(shop)
    _start(shop)
    clock.on(1)
    assert all("experiment" in d for d in shop.decide(*requests))
    stopped = shop.post("/v1/experiments/spring/stop", {}).json()
    assert (stopped["state"], stopped["stopped_at"]) == ("stopped", "2026-03-03T12:00:00Z")
    decisions = shop.decide(*requests)
    assert {d["policy"] for d in decisions} == {TREATMENT}
    assert all("experiment" not in d for d in decisions)
    clock.on(2)
    again = shop.post("/v1/experiments/spring/stop", {}).json()
    assert again == stopped
    _start(shop, name="summer", first_day="2026-03-05")
    assert shop.post("/v1/experiments/autumn/stop", {}).status_code == 404
    assert "there are: 'spring', 'summer'" in shop.client.get("/v1/experiments/x").text


def test_an_experiment_outlives_a_restart_and_a_change_of_models(shop_at, database_url, clock):
    with shop_at(database_url=database_url) as shop:
        requests = _catalogue(shop)
        _start(shop)
        clock.on(1)
        sides = _sides(shop.decide(*requests))
    with shop_at(database_url=database_url) as shop:
        assert _sides(shop.decide(*requests)) == sides
        beside = type(shop.bandit).beside(shop.bandit, shop.bandit.encoder)
        shop.post("/v1/experiments/spring/stop", {})
        beside.catch_up()
        assert beside.experiments == shop.bandit.experiments
        assert beside.experiments[0].stopped_at is not None


def _traded(shop, clock, days=12, n=60, effect=3.0):
    """An experiment whose bandit's units sell `effect` times as often; its rows, by hand."""
    requests, rng = _catalogue(shop, n), np.random.default_rng(3)
    _start(shop)
    rows = []
    for day in range(1, days + 1):
        clock.on(day)
        decisions = shop.decide(*requests)
        outcomes = []
        for d in decisions:
            impressions = int(rng.integers(50, 150))
            rate = 0.02 * (effect if d["policy"] == TREATMENT else 1.0)
            units = int(rng.poisson(impressions * rate))
            back = int(rng.integers(0, 1 + units // 3))
            outcomes.append(
                {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": impressions,
                 "units": units, "returned_units": back}
            )  # fmt: skip
            rows.append(
                {"unit": "listing " + d["listing_id"],
                 "period": (MONDAY + timedelta(day)).date(),
                 "arm": d["policy"], "profit": (units - back) * (d["price"] - 2),
                 "impressions": impressions}
            )  # fmt: skip
        shop.report(*outcomes)
    return pl.DataFrame(rows)


def test_the_report_is_that_of_the_table_made_by_hand(shop_on, clock):
    table = _traded(shop_on, clock)
    clock.on(13)
    found = shop_on.client.get("/v1/experiments/spring").json()
    wanted = compare(table, CONTROL, TREATMENT, {CONTROL: 0.5, TREATMENT: 0.5})
    assert found["verdict"] == wanted.verdict
    assert found["units"] == wanted.units
    assert found["difference"] == pytest.approx(wanted.difference, rel=1e-9)
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high), rel=1e-9)
    earned = wanted.profit_per_impression[CONTROL]
    lift = {"value": wanted.difference, "low": wanted.low, "high": wanted.high}
    assert found["lift"] == pytest.approx({k: v / earned for k, v in lift.items()}, rel=1e-9)
    assert found["decided_at"] == wanted.decided_at
    assert "bandit earns more per impression than reference" in found["verdict"]
    assert (found["currency"], found["counted_until"]) == ("GBP", "2026-03-15")
    # the last five days may still sell, and the present one is not over
    until = table.filter(pl.col("period") < pl.date(2026, 3, 10))
    late = shop_on.client.get("/v1/experiments/spring?lag_days=5").json()
    assert late["counted_until"] == "2026-03-10"
    assert sum(late["units"].values()) == until.height
    clock.on(12)
    found = shop_on.client.get("/v1/experiments/spring").json()
    assert sum(found["units"].values()) == table.height - 60


def test_what_units_earned_before_takes_variance_out(shop, clock):
    # the same listings sell at rates a hundred times apart, before the test and in it
    requests, rng = _catalogue(shop, 40), np.random.default_rng(5)
    rates = np.geomspace(0.004, 0.4, 40)
    _start(shop, first_day="2026-03-09")
    rows = []
    for day in range(14):
        clock.on(day)
        decisions = shop.decide(*requests)
        units = rng.poisson(200 * rates)
        shop.report(
            *(
                {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 200,
                 "units": int(u)}
                for d, u in zip(decisions, units, strict=True)
            )
        )  # fmt: skip
        for d, u in zip(decisions, units, strict=True):
            rows.append(
                (d["listing_id"], day, d.get("experiment"), d["policy"], u * (d["price"] - 2))
            )
    clock.on(14)
    found = shop.client.get("/v1/experiments/spring").json()
    frame = pl.DataFrame(
        rows, ["unit", "period", "name", "arm", "profit"], orient="row", infer_schema_length=None
    )
    frame = frame.with_columns(impressions=pl.lit(200))
    before = (
        frame.filter(pl.col("name").is_null())
        .group_by("unit")
        .agg(before=pl.col("profit").sum() / pl.col("impressions").sum())
    )
    table = frame.filter(pl.col("name") == "spring").join(before, on="unit")
    table = table.with_columns(unit="listing " + pl.col("unit"))
    shares = {CONTROL: 0.5, TREATMENT: 0.5}
    wanted = compare(table, CONTROL, TREATMENT, shares, covariate="before")
    assert found["variance_saved"] == pytest.approx(wanted.variance_saved, rel=1e-9)
    assert found["variance_saved"] > 0.3
    assert (found["low"], found["high"]) == pytest.approx((wanted.low, wanted.high), rel=1e-9)


def test_money_of_two_currencies_is_not_added_up(shop, clock):
    pounds = _catalogue(shop, 10)
    shop.register(
        *({"listing_id": f"yen {i}", "title": "oak dining table", "currency": "JPY",
           "reference_price": 900, "unit_cost": 400} for i in range(10))
    )  # fmt: skip
    _start(shop)
    clock.on(1)
    decisions = shop.decide(*pounds, *({"listing_id": f"yen {i}"} for i in range(10)))
    shop.report(
        *({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 100, "units": 2}
          for d in decisions)
    )  # fmt: skip
    clock.on(2)
    refused = shop.client.get("/v1/experiments/spring")
    assert refused.status_code == 422
    assert "GBP, JPY: their money has no sum" in refused.json()["detail"]
    assert (
        "the experiment has GBP, JPY" in shop.client.get("/v1/experiments/spring?currency=USD").text
    )
    found = shop.client.get("/v1/experiments/spring?currency=JPY").json()
    prices = [d["price"] for d in decisions if d["currency"] == "JPY" and d["policy"] == CONTROL]
    assert set(prices) == {900}
    assert found["profit_per_impression"][CONTROL] == pytest.approx(2 * 500 / 100)
    assert sum(found["units"].values()) == 10


def test_a_currency_that_it_has_nothing_of_is_named_from_the_first_price_on(shop_on, clock):
    requests, path = _catalogue(shop_on, 10), "/v1/experiments/spring?currency="
    _start(shop_on)
    assert shop_on.client.get(path + "USD").status_code == 200  # anything may come yet
    clock.on(1)
    shop_on.decide(*requests)
    for _ in range(2):  # while no day counts yet, and afterwards
        refused = shop_on.client.get(path + "USD")
        assert refused.status_code == 422
        assert "'USD': the experiment has GBP" in refused.json()["detail"]
        found = shop_on.client.get(path + "GBP").json()
        assert found["verdict"].startswith("Too early to say anything")
        clock.on(2)


def test_sums_of_any_size_are_read_in_parts(shop_on, clock, monkeypatch):
    monkeypatch.setattr(experiment_report, "_PART", 3)
    requests = _catalogue(shop_on, currency="IDR", reference_price=25e6, unit_cost=1e7)
    _start(shop_on)
    clock.on(1)
    decisions = shop_on.decide(*requests)
    shop_on.report(
        *({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 10**12,
           "units": 10**11} for d in decisions)
    )  # fmt: skip
    clock.on(2)
    found = shop_on.client.get("/v1/experiments/spring").json()
    assert sum(found["units"].values()) == 20
    assert found["profit_per_impression"][CONTROL] == pytest.approx(15e6 / 10)


def test_before_there_is_anything_it_says_so(shop, clock):
    _start(shop)
    found = shop.client.get("/v1/experiments/spring").json()
    assert found["verdict"].startswith("Too early to say anything")
    assert (found["state"], found["counted_until"]) == ("waiting", "2026-03-03")
    assert shop.client.get("/v1/experiments/spring?currency=GBP").status_code == 200
    requests = _catalogue(shop)
    clock.on(1)
    shop.decide(*requests)
    clock.on(2)
    found = shop.client.get("/v1/experiments/spring").json()
    assert "impressions of 0 of 2 arms." in found["verdict"]
    assert "reference_price" not in found["verdict"]


def test_a_difference_is_told_once_it_is_one(shop, clock):
    requests = _catalogue(shop)
    _start(shop, last_day=None)
    clock.on(1)
    decisions = shop.decide(*requests)
    shop.report(
        *({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 50, "units": 3}
          for d in decisions)
    )  # fmt: skip
    clock.on(2)
    found = shop.client.get("/v1/experiments/spring").json()
    assert found["verdict"] == "Too early to say anything: let the test run on."
    assert [found[name] for name in ("lift", "difference", "low", "high")] == [None] * 4
    assert sum(found["units"].values()) == 20


def test_it_is_told_that_nobody_can_take_part(shop, clock):
    shop.register({"listing_id": "a", "title": "red ceramic mug", "currency": "GBP"})
    assert _start(shop)["listings"] == 0
    clock.on(1)
    shop.decide({"listing_id": "a"})
    clock.on(2)
    found = shop.client.get("/v1/experiments/spring").json()
    assert "Only listings with a reference_price take part" in found["verdict"]


def test_a_last_day_within_a_week_ends_its_period(shop, clock):
    _start(shop, period="week", first_day="2026-03-09", last_day="2026-03-18")
    clock.on(16)
    assert shop.client.get("/v1/experiments/spring").json()["counted_until"] == "2026-03-16"
    clock.on(17)
    found = shop.client.get("/v1/experiments/spring").json()
    assert (found["state"], found["counted_until"]) == ("over", "2026-03-19")


def _families(shop, n, second=5, **fields):
    members = [
        {"listing_id": f"{family}{i}", "title": "red ceramic mug", "currency": "GBP",
         "family": f"f{family}", "reference_price": 5 if i == 0 else second, "unit_cost": 2,
         **fields}
        for family in range(n) for i in range(2)
    ]  # fmt: skip
    assert shop.register(*members)["errors"] == []
    return [{"listing_id": one["listing_id"]} for one in members]


def _leave(shop, requests):
    """The listings asked about, without their families from now on."""
    alone = {"title": "red ceramic mug", "currency": "GBP", "reference_price": 5, "unit_cost": 2}
    assert shop.register(*({**one, **alone} for one in requests))["errors"] == []


def test_a_price_that_a_family_holds_for_a_unit_takes_no_part(lively_shop, clock):
    requests = [{**one, "unit": "store 1"} for one in _families(lively_shop, 6)]
    _start(lively_shop)
    for day in (1, 2):
        clock.on(day)
        assert all("experiment" not in d for d in lively_shop.decide(*requests))
    plain = [{"listing_id": one["listing_id"]} for one in requests]
    decisions = lively_shop.decide(*plain)
    assert all(d["price"] == 5 for d in decisions if d["policy"] == CONTROL)
    assert {d.get("experiment") for d in decisions} == {"spring"}


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "restarts"])
def test_a_unit_called_as_the_day_is_that_of_the_day(shop_at, clock, again):
    """A family has one price for both, which is no reference price if the first takes no part."""
    settings = {"temperature": 10.0, "budget": 1.0}
    with shop_at(**settings) as shop:
        requests = _families(shop, 12)
        _start(shop)
        clock.on(1)
        first = shop.decide(*({**one, "unit": "2026-03-03"} for one in requests))
        other = shop.decide(*({**one, "unit": "2026-03-04"} for one in requests))
        assert all("experiment" not in d for d in other)
        if not again:
            second = shop.decide(*requests)
    with shop_at(**settings) as shop:
        if again:
            second = shop.decide(*requests)
    for decisions in (first, second):
        assert {d.get("experiment") for d in decisions} == {"spring"}
        assert all(d["price"] == 5 for d in decisions if d["policy"] == CONTROL)
        assert _sides(decisions) == _sides(first)


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "restarts"])
def test_a_family_that_agrees_in_the_middle_of_a_day_waits_for_the_next(shop_at, clock, again):
    settings = {"temperature": 10.0, "budget": 1.0}
    with shop_at(**settings) as shop:
        requests = _families(shop, 8, second=6)
        _start(shop)
        clock.on(1)
        # of half of the families one member alone is asked about, of one by a unit of the day
        named = [{**one, "unit": "2026-03-03"} for one in requests[:2]]
        shop.decide(*named, *requests[2:8], *requests[8::2])
        _families(shop, 8)
        if not again:
            assert all("experiment" not in d for d in shop.decide(*requests))
    with shop_at(**settings) as shop:
        assert all("experiment" not in d for d in shop.decide(*requests))
        clock.on(2)
        decisions = shop.decide(*requests)
        assert {d["policy"] for d in decisions} == {CONTROL, TREATMENT}
        assert all(d["price"] == 5 for d in decisions if d["policy"] == CONTROL)


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "restarts"])
def test_who_leaves_a_family_keeps_its_side_for_the_period(shop_at, clock, again):
    with shop_at() as shop:
        requests = _families(shop, 12)
        _start(shop, period="week", first_day="2026-03-09")
        clock.on(8)
        sides = _sides(shop.decide(*requests))
        _leave(shop, requests)
        clock.on(10)
        if not again:
            assert _sides(shop.decide(*requests)) == sides
    with shop_at() as shop:
        assert _sides(shop.decide(*requests)) == sides
        clock.on(15)
        assert _sides(shop.decide(*requests)) != sides


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "restarts"])
def test_who_is_registered_anew_keeps_its_side_for_the_period(shop_at, clock, again):
    """Of 24 listings that left their families, about half would fall otherwise by their own."""
    with shop_at() as shop:
        requests = _families(shop, 12)
        _start(shop)
        clock.on(1)
        sides = _sides(shop.decide(*requests))
        for one in requests:
            shop.client.delete(f"/v1/listings/{one['listing_id']}")
        _leave(shop, requests)
        if not again:
            assert _sides(shop.decide(*requests)) == sides
    with shop_at() as shop:
        decisions = shop.decide(*requests)
        assert _sides(decisions) == sides
        shop.report(
            *({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 9, "units": 1}
              for d in decisions)
        )  # fmt: skip
        clock.on(2)
        assert shop.client.get("/v1/experiments/spring").status_code == 200


@pytest.mark.parametrize("asked", ["ab", "ba"])
def test_a_family_that_one_of_another_side_has_joined_keeps_one_price(lively_shop, clock, asked):
    """Of 24 families joined, half by a listing whose own coin fell otherwise."""
    shop, n = lively_shop, 24
    alone = {"title": "red ceramic mug", "currency": "GBP", "reference_price": 5, "unit_cost": 2}
    of = [{**alone, "listing_id": f"{m}{i}", "family": f"{i}"} for i in range(n) for m in "ac"]
    joins = [{**alone, "listing_id": f"b{i}"} for i in range(n)]
    shop.register(*of, *joins)
    _start(shop)
    clock.on(1)
    own = _sides(shop.decide(*({"listing_id": one["listing_id"]} for one in joins)))
    shop.register(*({**one, "family": one["listing_id"][1:]} for one in joins))
    decisions = shop.decide(*({"listing_id": f"{m}{i}"} for i in range(n) for m in asked))
    outside = 0
    for first, second in zip(decisions[::2], decisions[1::2], strict=True):
        assert first["price"] == second["price"]
        outside += "experiment" not in second
        assert first["experiment"] == "spring"
        assert "experiment" not in second or second["policy"] == first["policy"]
        if asked == "ba":
            assert first["policy"] == own[first["listing_id"]]
    assert (outside > 0) == (asked == "ab")
    shop.report(*({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 9, "units": 1}
                  for d in decisions))  # fmt: skip
    clock.on(2)
    assert shop.client.get("/v1/experiments/spring").json()["units"]


@pytest.mark.parametrize("again", [False, True], ids=["goes on", "restarts"])
def test_a_clock_that_was_ahead_leaves_each_on_its_side(shop_at, clock, again):
    with shop_at() as shop:
        requests = _families(shop, 12)
        _start(shop)
        clock.on(1)
        sides = _sides(shop.decide(*requests))
        _leave(shop, requests)
        clock.on(2)
        assert _sides(shop.decide(*requests)) != sides
        clock.on(1)
        if not again:
            assert _sides(shop.decide(*requests)) == sides
    with shop_at() as shop:
        assert _sides(shop.decide(*requests)) == sides


def test_replay_rebuilds_a_model_that_learned_from_both_arms(open_bandit, drive, clock):
    from service.learning import difference, rebuild

    bandit = open_bandit()
    drive.listings(
        bandit,
        *({"listing_id": f"m{i}", "title": "red ceramic mug", "currency": "GBP",
           "reference_price": 5, "unit_cost": 2} for i in range(12)),
    )  # fmt: skip
    bandit.carry_out(
        experimenting.start,
        [experiments.Experiment("spring", 0.5, "day", MONDAY.date() + timedelta(1), None)],
    )
    clock.on(1)
    decisions = drive.prices(bandit, *({"listing_id": f"m{i}"} for i in range(12)))
    drive.outcomes(
        bandit,
        *({"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 90, "units": i % 4}
          for i, d in enumerate(decisions)),
    )  # fmt: skip
    assert bandit.fold.read.shown == 12
    rebuilt, _ = rebuild(bandit.fold, bandit.log, bandit.catalogue)
    assert difference(bandit.fold, rebuilt) < 1e-12


def test_the_command_lists_and_reports(shop_at, clock, tmp_path, monkeypatch):
    home = str(tmp_path / "home")

    def said(*args):
        return CliRunner().invoke(app, ["experiment", "--home", home, *args])

    assert "no log there" in said().output
    with shop_at() as shop:
        assert "no experiment yet" in said().output
        _traded(shop, clock)
        clock.on(13)
        assert said().output.startswith("spring: 50% of units each day, from 2026-03-03 until")
        out = said("spring")
        assert out.exit_code == 0
        assert "bandit earns more per impression than reference" in out.output
        assert "reference: " in out.output
        assert "of what reference prices earn" in out.output
        told = json.loads(said("spring", "--json").output)
        assert told == shop.client.get("/v1/experiments/spring").json()
        missing = said("summer")
        assert missing.exit_code == 1
        assert "unknown; there are: 'spring'" in missing.output


def test_a_lift_over_a_loss_is_called_that(shop, clock):
    requests = _catalogue(shop, 30)
    _start(shop)
    for day in range(1, 6):
        clock.on(day)
        shop.report(
            *(
                {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 90, "units": 0,
                 "returned_units": 1 if d["policy"] == TREATMENT else 2}
                for d in shop.decide(*requests)
            )
        )  # fmt: skip
    clock.on(6)
    found = shop.client.get("/v1/experiments/spring").json()
    assert found["profit_per_impression"][CONTROL] < 0 < found["lift"]["value"]
    home = str(shop.settings.home)
    out = CliRunner().invoke(app, ["experiment", "--home", home, "spring"]).output
    assert "of what reference prices lose" in out


def test_reports_under_way_are_few_and_who_asks_the_same_shares_one(shop, monkeypatch):
    assert shop.post("/v1/experiments", {"name": "spring"}).status_code == 200
    let_go, asked, made = threading.Event(), [], []
    report, service_report = experiment_report.report, running.Service.report

    def slowly(engine, name, at_us, currency, lag_days):
        made.append(lag_days)
        assert let_go.wait(60)
        return report(engine, name, at_us, currency, lag_days)

    async def noted(self, *args):
        asked.append(args)
        return await service_report(self, *args)

    monkeypatch.setattr(experiment_report, "report", slowly)
    monkeypatch.setattr(running.Service, "report", noted)

    def ask(lag_days):
        return shop.client.get("/v1/experiments/spring", params={"lag_days": lag_days})

    most = running._REPORTS
    with ThreadPoolExecutor(3 * most) as askers:
        answers = [askers.submit(ask, i % most) for i in range(3 * most)]
        while len(asked) < 3 * most:
            time.sleep(0.005)
        refused = ask(most)
        let_go.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert sorted(made) == list(range(most))
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert f"{most} reports are under way already" in refused.json()["detail"]
    assert ask(most).status_code == 200
