import numpy as np
import pytest

from service.engine import Work
from service.sales import import_sales
from service.tables import SalesTable

VASE = {"listing_id": "vase", "title": "glass flower vase", "currency": "GBP"}


def test_a_what_if_about_a_known_listing_keeps_its_recorded_sales(shop, titles):
    mugs = ({**VASE, "listing_id": f"m{i}", "title": t} for i, t in enumerate(titles[:6]))
    shop.register(VASE, *({**mug, "reference_price": 5 + i} for i, mug in enumerate(mugs)))
    price, units = np.array([120.0, 125.0, 130.0]), np.array([10, 12, 9])
    at_us = 1_750_000_000_000_000 + np.arange(3)
    table = SalesTable(["vase"] * 3, at_us, price, units, np.full(3, np.nan), [])
    shop.engine.submit(Work(import_sales, table, 3)).result()
    known, what_if = (
        shop.decide(request, record=False, explore=False)[0]
        for request in ({"listing_id": "vase"}, {"listing": VASE})
    )
    assert what_if["price"] == known["price"]
    assert what_if["ladder"] == known["ladder"]


@pytest.mark.parametrize("single", [True, False])
def test_an_impression_that_sells_one_unit_at_most_is_not_expected_to_sell_more(shop, single):
    mug = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "max_price": 0.5,
           "one_unit_per_impression": single}  # fmt: skip
    shop.register(mug)
    for asked in ({"listing_id": "mug"}, {"listing": {**mug, "listing_id": "what-if"}}):
        expected = shop.decide(asked, explore=False, record=False)[0]["expected"]
        assert (expected["units_per_impression"] <= 1.0) is single
        assert expected["low"] <= expected["profit_per_impression"] <= expected["high"]
    curve = shop.client.get("/v1/listings/mug/demand").json()["curve"]
    assert max(p["units_per_impression"]["high"] for p in curve) > 1.0 or single
    if single:
        assert max(p["units_per_impression"][e] for p in curve for e in ("estimate", "high")) == 1.0
