"""What a shop gets wrong at once is said, once, and nothing else is."""

from dataclasses import replace

import numpy as np
import pytest

from service.engine import Work
from service.pricebandit import Pricebandit
from service.sales import import_sales
from service.suspicions import of_record
from service.tables import SalesTable

WORDS = ["oak", "pine", "wool", "silk", "tin", "glass", "red", "blue", "old", "new"]


def _listings(count, **terms):
    return [
        {"listing_id": f"s{i}", "title": f"{WORDS[i % 10]} mug {i}", "currency": "GBP"}
        | {name: term(i) if callable(term) else term for name, term in terms.items()}
        for i in range(count)
    ]


def _warnings(caplog):
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("reference", "cost", "times"), [(1200, 6, "200 times"), (12, 600, "0.02 times")]
)
def test_prices_and_costs_in_different_units_are_said_once(shop, caplog, reference, cost, times):
    shop.register(*_listings(40, reference_price=reference, unit_cost=cost))
    (message,) = _warnings(caplog)
    assert f"reference_price is {times} unit_cost in the median of 40 listings" in message
    shop.register(*_listings(60, reference_price=reference, unit_cost=cost))
    Pricebandit.beside(shop.bandit, shop.bandit.encoder)  # another model, made ready
    assert len(_warnings(caplog)) == 1


@pytest.mark.parametrize(("own", "said"), [(0, True), (10, False)])
def test_reference_prices_that_were_decided_here_are_said_once(shop, caplog, own, said):
    listings = _listings(40, reference_price=lambda i: 10 + i, unit_cost=5)
    shop.register(*listings)
    for _ in range(2):
        decided = shop.decide(*({"listing_id": one["listing_id"]} for one in listings))
        for one, made in zip(listings[own:], decided[own:], strict=True):
            one["reference_price"] = made["price"]
        shop.register(*listings)
    messages = _warnings(caplog)
    assert len(messages) == said
    assert all("the price decided last in 40 of 40 listings" in message for message in messages)


def test_reference_prices_that_an_experiment_charges_are_not_said(shop, caplog):
    listings = _listings(40, reference_price=12, min_price=12, max_price=12)
    shop.register(*listings)
    assert shop.post("/v1/experiments", {"name": "spring", "share": 0.01}).status_code == 200
    shop.decide(*({"listing_id": one["listing_id"]} for one in listings))
    shop.register(*listings)
    assert _warnings(caplog) == []


def test_references_in_pence_are_not_believed(shop):
    shop.register(*_listings(40, reference_price=lambda i: 1000 + 10 * i, unit_cost=5))
    (made,) = shop.decide({"listing_id": "s3"}, explore=False, record=False)
    assert made["price"] < 300  # 10.30 in pence: half-way, and either may be right
    assert made["ladder"][0] < 25


@pytest.mark.parametrize(
    ("terms", "least"),
    [
        ({"reference_price": lambda i: i + 9.99, "unit_cost": 0.05}, 4),
        ({"reference_price": lambda i: i + 1500, "unit_cost": 5, "currency": "JPY"}, 500),
    ],
)
def test_what_costs_next_to_nothing_is_not_taken_for_priced_in_pence(shop, terms, least):
    shop.register(*_listings(40, **terms))
    (made,) = shop.decide({"listing_id": "s3"}, explore=False, record=False)
    assert made["price"] > least


@pytest.mark.parametrize(
    "terms",
    [
        {"reference_price": 12, "unit_cost": 6},
        {"reference_price": 12, "unit_cost": 0},
        {"reference_price": 200, "unit_cost": 6},  # a dear shop, but a shop
        {"reference_price": 1200},
        {"unit_cost": 600},
        {"reference_price": lambda i: i + 9.99, "unit_cost": 0.05},  # downloads
        {"reference_price": lambda i: i + 1500, "unit_cost": 5, "currency": "JPY"},
        {"unit_cost": 6, "inventory": lambda i: i % 3},
    ],
)
def test_what_may_well_be_is_not_said(shop, caplog, terms):
    shop.register(*_listings(40, **terms))
    assert _warnings(caplog) == []


def test_few_listings_are_an_accident(shop, caplog):
    shop.register(*_listings(29, reference_price=1200, unit_cost=6, inventory=0))
    assert _warnings(caplog) == []


def test_a_shop_without_any_stock_is_said(shop, caplog):
    shop.register(*_listings(40, unit_cost=6, inventory=lambda i: int(i < 2)))
    (message,) = _warnings(caplog)
    assert "inventory is 0 in 38 of 40 listings" in message


def test_the_few_that_are_sold_out_are_no_whole_shop(shop, caplog):
    shop.register(*_listings(480, unit_cost=6)[40:], *_listings(40, unit_cost=6, inventory=0))
    assert _warnings(caplog) == []


@pytest.mark.parametrize(
    ("shown", "dozen", "said"), [(None, 1, True), (20, 1, False), (10, 12, False)]
)
def test_impressions_of_buyers_alone_are_said(shop, caplog, shown, dozen, said):
    shop.register(*_listings(40, reference_price=12, unit_cost=6))
    for day in range(8):
        made = shop.decide(*({"listing_id": f"s{i}"} for i in range(40)))
        units = [(i + day) % 4 for i in range(40)]
        shop.report(
            *(
                {"decision_id": d["decision_id"], "outcome_id": "1"}
                | {"impressions": shown or u, "units": dozen * u}
                for d, u in zip(made, units, strict=True)
                if u or shown
            )
        )
    shop.bandit.snapshot()
    found = [m for m in _warnings(caplog) if "impressions sold" in m]
    assert len(found) == said


@pytest.mark.parametrize(
    ("price", "terms", "said"),
    [
        (1200, {"reference_price": 12, "unit_cost": 6}, "100 times the reference_price"),
        (12, {"reference_price": 1200}, "0.01 times the reference_price"),
        (1200, {"unit_cost": 6}, "200 times the unit_cost"),
        (900, {"reference_price": 12, "currency": "JPY"}, "75 times the reference_price"),
        (24, {"reference_price": 12, "unit_cost": 6}, None),
        (9.99, {"unit_cost": 0.05}, None),  # downloads
        (1200, {"unit_cost": 6, "currency": "JPY"}, None),  # or what costs next to nothing
        (1200, {}, None),
    ],
)
def test_recorded_prices_in_other_units_are_said(shop, price, terms, said):
    shop.register(*_listings(3, **terms))
    names, when = [f"s{i % 3}" for i in range(30)], np.full(30, 1_767_600_000_000_000)
    sold = SalesTable(names, when, np.full(30, float(price)), np.ones(30, np.int64), when * 0.0, [])
    catalogue = shop.bandit.catalogue
    found = of_record(catalogue, sold)
    assert (found is None) if said is None else (said in found and "of 30 sales" in found)
    assert of_record(catalogue, sold.part(0, 29)) is None  # few are an accident
    assert of_record(catalogue, sold.part(0, 0)) is None


def test_recorded_prices_are_held_against_those_before(shop):
    shop.register(*_listings(3))
    names, when = [f"s{i % 3}" for i in range(30)], np.full(30, 1_767_600_000_000_000)
    sold = SalesTable(names, when, np.full(30, 12.0), np.ones(30, np.int64), when * np.nan, [])
    shop.engine.submit(Work(import_sales, sold, 30)).result()
    catalogue = shop.bandit.catalogue
    assert of_record(catalogue, sold) is None
    found = of_record(catalogue, replace(sold, price=sold.price * 100))
    assert "100 times the reference_price" in str(found)


def test_what_is_said_of_impressions_can_be_done(shop):
    shop.register(*_listings(1, unit_cost=6))
    (made,) = shop.decide({"listing_id": "s0"})
    outcome = {"decision_id": made["decision_id"], "outcome_id": "1", "impressions": 0, "units": 1}
    assert shop.report(outcome)["errors"] == []


def test_sales_of_which_nobody_counted_who_looked_are_not_said(shop, caplog):
    names = [f"s{i}" for i in range(40)]
    shop.register(*_listings(40, reference_price=12, unit_cost=6))
    when, unknown = np.full(40, 1_767_600_000_000_000), np.full(40, np.nan)
    sold = SalesTable(names, when, np.full(40, 1200), np.full(40, 500), unknown, [])
    shop.engine.submit(Work(import_sales, sold, 40)).result()
    made = shop.decide(*({"listing_id": name} for name in names))
    shop.report(
        *(
            {"decision_id": d["decision_id"], "outcome_id": "1", "impressions": 20, "units": 1}
            for d in made
        )
    )
    shop.bandit.snapshot()
    assert _warnings(caplog) == []
