import numpy as np
import pytest

from bandits.features import NAMES
from service import pricing, registering, rounds
from service.items import read_items
from service.routes import prices
from service.schemas import LISTINGS

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}


def _sound(decision):
    """What is true of every decision."""
    ladder = decision["ladder"]
    assert ladder == sorted(set(ladder))
    assert decision["price"] == ladder[decision["arm"]]
    assert 0 < decision["propensity"] <= 1
    expected = decision["expected"]
    assert expected["units_per_impression"] > 0
    assert expected["low"] <= expected["profit_per_impression"] <= expected["high"]
    assert decision["policy"] == "bandit"
    assert len(decision["evidence"]) <= 3
    assert None not in decision.values()
    return decision


def _priced(shop, listing, request=None, **flags):
    """One sound decision on a listing that is registered first."""
    assert shop.register(listing)["errors"] == []
    return _sound(shop.decide({"listing_id": listing["listing_id"], **(request or {})}, **flags)[0])


def _refusal(shop, listing, request=None):
    shop.register(listing)
    answer = shop.price({"listing_id": listing["listing_id"], **(request or {})})
    assert answer["decisions"] == []
    (error,) = answer["errors"]
    return error["field"], error["message"]


# -- money ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("GBP", 2), ("KWD", 3)])
def test_prices_are_rounded_to_the_minor_unit(shop, currency, digits):
    shop.register({**MUG, "currency": currency, "reference_price": 12.3456789})
    for decision in shop.decide(*[{"listing_id": "mug"}] * 20):
        _sound(decision)
        assert decision["currency"] == currency
        for price in decision["ladder"]:
            assert price == round(price, digits)
        detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
        assert (detail["price"], detail["ladder"]) == (decision["price"], decision["ladder"])
    minor = shop.rows("SELECT price FROM decisions")
    assert all(isinstance(row["price"], int) for row in minor)


@pytest.mark.parametrize(("currency", "ending"), [("GBP", 0.99), ("GBP", 0), ("KWD", 0.75)])
def test_prices_end_as_asked(shop, currency, ending):
    listing = {**MUG, "currency": currency, "reference_price": 40, "price_ending": ending}
    decision = _priced(shop, listing)
    assert len(decision["ladder"]) > 3
    assert all(round(price % 1, 3) == ending for price in decision["ladder"])
    assert "price_ending" in decision["guardrails"]


def test_unknown_is_absent_and_never_0(shop):
    shop.register({"listing_id": "bare", "title": "red ceramic mug", "currency": "GBP"})
    listing = shop.client.get("/v1/listings/bare").json()
    assert listing == {"listing_id": "bare", "title": "red ceramic mug", "currency": "GBP"}
    decision = _sound(shop.decide({"listing_id": "bare"})[0])
    assert "request_id" not in decision
    assert decision["reason"].startswith("no price in GBP is known yet")
    detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
    assert not {"unit_cost", "request_id", "unit", "family", "drawn_with"} & set(detail)
    assert detail["reason"] == decision["reason"]
    assert None not in detail.values()
    shop.register({"listing_id": "other", "title": "blue ceramic mug", "currency": "GBP"})
    (near,) = shop.client.get("/v1/listings/bare/similar").json()["similar"]
    assert "price" not in near
    assert near["listing_id"] == "other"
    shop.register({"listing_id": "third", "title": "red ceramic mug", "currency": "GBP"})
    evidence = shop.decide({"listing_id": "third"})[0]["evidence"]
    assert [sorted(e) for e in evidence if e["listing_id"] == "other"] == [
        ["listing_id", "similarity"]
    ]


def test_a_cost_of_nothing_is_known(shop):
    _priced(shop, {**MUG, "unit_cost": 0})
    assert shop.client.get("/v1/listings/mug").json()["unit_cost"] == 0
    assert shop.client.get("/v1/listings/mug/demand").json()["objective"] == "profit"


# -- limits ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "holds"),
    [
        ({"unit_cost": 6.5}, lambda p: p >= 6.5),
        ({"min_price": 6.01}, lambda p: p >= 6.01),
        ({"minimum_advertised_price": 5.55}, lambda p: p >= 5.55),
        ({"max_price": 4.5}, lambda p: p <= 4.5),
        ({"max_step": 0.1}, lambda p: 4.5 <= p <= 5.5),
        ({"min_price": 19.99, "max_price": 19.99}, lambda p: p == 19.99),
    ],
)
def test_limits_hold_and_are_named(shop, limit, holds):
    decision = _priced(shop, {**MUG, **limit})
    assert all(holds(price) for price in decision["ladder"])
    name = {"unit_cost": "cost_floor"}.get(next(iter(limit)), next(iter(limit)))
    assert name in decision["guardrails"]


@pytest.mark.parametrize("known", [{}, {"unit_cost": 3}, {"min_price": 7000}])
def test_sales_at_any_price_lead_no_further_than_a_thousandfold(shop, known):
    shop.register({**MUG, **known})
    furthest, past = max(5000, known.get("min_price", 0)), 0
    for _ in range(200):  # about thirty lessons lead there
        (made,) = shop.decide({"listing_id": "mug"})
        _sound(made)
        assert made["price"] <= made["ladder"][-1] <= furthest
        past += made["ladder"][-1] == furthest
        if past == 10:
            break
        told = {"decision_id": made["decision_id"], "impressions": 100, "units": 10}
        shop.report(*({**told, "outcome_id": str(part)} for part in range(256)))  # a lesson's worth
    assert past == 10
    assert "reference_range" in made["guardrails"]


def test_max_step_counts_from_the_price_asked_about_then_decided_then_referred_to(shop):
    listing = {**MUG, "max_step": 0.05}
    first = _priced(shop, listing)
    assert 4.75 <= first["price"] <= 5.25
    for _ in range(5):
        then = _sound(shop.decide({"listing_id": "mug"})[0])
        assert first["price"] * 0.95 - 0.01 <= then["price"] <= first["price"] * 1.05 + 0.01
        first = then
    asked = _sound(shop.decide({"listing_id": "mug", "current_price": 20})[0])
    assert 19 <= asked["price"] <= 21
    assert "max_step" in asked["guardrails"]


def test_limits_that_leave_no_price_are_item_errors(shop):
    field, message = _refusal(shop, {**MUG, "max_step": 0.1, "max_price": 3})
    assert field == "max_step"
    assert "no allowed price: max_step asks for at least 4.5 and max_price for at most 3" in message
    field, message = _refusal(
        shop, {**MUG, "min_price": 5.1, "max_price": 5.3, "price_ending": 0.99}
    )
    assert field == "price_ending"
    assert "no price between 5.1 and 5.3" in message
    for fields, unit in (
        ({"currency": "JPY", "max_price": 0.99}, "1 JPY"),
        ({"currency": "JPY", "max_price": 0.99, "min_price": 0.5}, "1 JPY"),
        ({"max_price": 0.004}, "0.01 GBP"),
        ({"max_price": 0.004, "price_ending": 0.99}, "0.01 GBP"),
    ):
        field, message = _refusal(shop, {**MUG, "listing_id": unit, **fields})
        words = f"max_price asks for less than {unit}, the smallest price there is: raise it"
        assert (field, message) == ("max_price", f"no allowed price: {words}")
    field, _ = _refusal(shop, {**MUG, "max_step": 0.01}, {"current_price": 0.005})
    assert field == "max_step"
    demand = shop.client.get("/v1/listings/mug/demand")
    assert demand.status_code in (200, 409)


def test_extreme_numbers_are_priced_or_refused_and_never_fail(shop):
    tiny, huge = 5e-324, 1e12
    listings = [
        {**MUG, "listing_id": f"{c}{i}", "currency": c, **fields}
        for c in ("JPY", "KWD")
        for i, fields in enumerate(
            [
                {"reference_price": tiny}, {"reference_price": huge}, {"unit_cost": huge},
                {"unit_cost": tiny}, {"max_price": tiny}, {"min_price": huge},
                {"reference_price": huge, "max_step": 1000}, {"max_step": tiny},
                {"price_ending": 0.9999999}, {"min_price": huge, "price_ending": 0.5},
            ]
        )
    ]  # fmt: skip
    refused = {error["index"] for error in shop.register(*listings)["errors"]}
    answer = shop.price(*({"listing_id": i["listing_id"], "current_price": huge} for i in listings))
    assert len(answer["decisions"]) + len(answer["errors"]) == len(listings)
    for decision in answer["decisions"]:
        _sound(decision)
    for i, listing in enumerate(listings):
        response = shop.client.get(f"/v1/listings/{listing['listing_id']}/demand")
        assert response.status_code in ((404,) if i in refused else (200, 409))


# -- choosing -------------------------------------------------------------------------------


def test_without_exploration_the_best_estimate_is_chosen(shop):
    shop.register({**MUG, "unit_cost": 2})
    decisions = shop.decide(*[{"listing_id": "mug"}] * 10, explore=False)
    assert {d["propensity"] for d in decisions} == {1.0}
    assert len({d["price"] for d in decisions}) == 1
    curve = shop.client.get("/v1/listings/mug/demand").json()["curve"]
    best = max(curve, key=lambda point: point["profit_per_impression"]["estimate"])
    assert best["price"] == pytest.approx(decisions[0]["price"], rel=0.01)
    detail = shop.client.get(f"/v1/decisions/{decisions[0]['decision_id']}").json()
    assert sorted(detail["propensities"])[-2:] == [0.0, 1.0]


def test_exploration_draws_several_prices(lively_shop):
    lively_shop.register(MUG)
    decisions = lively_shop.decide(*[{"listing_id": "mug"}] * 200)
    assert len({d["price"] for d in decisions}) > 1
    for decision in decisions:
        assert _sound(decision)["propensity"] < 1


def test_decisions_come_in_the_order_of_the_requests(shop, titles):
    shop.register(
        *({"listing_id": f"l{i}", "title": t, "currency": "GBP"} for i, t in enumerate(titles))
    )
    requests = [
        {"listing": {**MUG, "listing_id": "inline"}, "request_id": f"r{i}"}
        if i % 3 == 0
        else {"listing_id": f"l{i % 8}", "request_id": f"r{i}"}
        for i in range(30)
    ]
    for record in (True, False):
        decisions = shop.decide(*requests, record=record)
        assert [d["request_id"] for d in decisions] == [f"r{i}" for i in range(30)]
        names = ["inline" if i % 3 == 0 else f"l{i % 8}" for i in range(30)]
        assert [d["listing_id"] for d in decisions] == names


def test_an_empty_catalogue_prices_what_comes_inline(shop):
    request = {"listing": {"listing_id": "first", "title": "red ceramic mug", "currency": "GBP"}}
    what_if = _sound(shop.decide(request, record=False)[0])
    assert what_if["evidence"] == []
    assert shop.price({"listing_id": "first"})["errors"][0]["field"] == "listing_id"
    assert _sound(shop.decide(request)[0])["evidence"] == []
    assert shop.client.get("/v1/listings/first/similar").json()["similar"] == []


def test_a_batch_of_refusals_alone_is_answered(shop):
    for record in (True, False):
        answer = shop.price({"listing_id": "a"}, {"listing_id": "b"}, record=record)
        assert answer["decisions"] == []
        assert [e["index"] for e in answer["errors"]] == [0, 1]
    shop.register({**MUG, "max_step": 0.1, "max_price": 3})
    assert len(shop.price(*[{"listing_id": "mug"}] * 3)["errors"]) == 3
    assert shop.count("decisions") == 0


# -- what-ifs -------------------------------------------------------------------------------


def _trace(shop):
    catalogue = shop.bandit.catalogue
    n = len(catalogue)
    columns = (catalogue.anchor, catalogue.last_price, catalogue.family, catalogue.text)
    tables = ("listings", "decisions", "outcomes", "answers")
    return repr(
        [
            sorted(catalogue.row_of.items()),
            catalogue.document,
            [column[:n].tolist() for column in columns],
            catalogue.family_code,
            catalogue.family_prices,
            catalogue.decided_until,
            [shop.count(table) for table in tables],
        ]
    )


def test_a_what_if_leaves_no_trace(shop):
    shop.register({**MUG, "family": "mugs"}, {**MUG, "listing_id": "cup"})
    shop.decide({"listing_id": "mug"})
    before = _trace(shop)
    decisions = shop.decide(
        {"listing_id": "mug", "unit": "u"},
        {"listing_id": "cup"},
        {"listing": {**MUG, "max_price": 3}},
        {"listing": {**MUG, "listing_id": "new", "family": "new family"}},
        record=False,
    )
    assert all("decision_id" not in _sound(d) for d in decisions)
    assert decisions[2]["price"] <= 3
    assert _trace(shop) == before
    assert shop.client.get("/v1/listings/new").status_code == 404


def test_inline_listings_are_registered_where_recorded(shop):
    first = shop.decide({"listing": MUG}, {"listing_id": "mug"})
    assert [d["listing_id"] for d in first] == ["mug", "mug"]
    assert shop.client.get("/v1/listings/mug").json() == MUG
    shop.decide({"listing": {**MUG, "max_price": 4}})
    assert shop.client.get("/v1/listings/mug").json()["max_price"] == 4
    assert shop.count("listings") == 1


def test_of_one_listing_with_two_terms_in_a_batch_the_last_is_priced(shop):
    cheap, dear = ({**MUG, "min_price": low, "max_price": low + 4} for low in (1, 50))
    answer = shop.price({"listing": cheap}, {"listing": dear}, {"listing_id": "mug"})
    assert [d["price"] >= 50 for d in answer["decisions"]] == [True, True]
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "listing")]
    assert len(shop.decide({"listing": dear}, {"listing": dear})) == 2


def test_no_price_keeps_the_terms_that_another_caller_sent_meanwhile(open_bandit, drive):
    bandit = open_bandit()
    cheap, dear = ({**MUG, "min_price": low, "max_price": low + 4} for low in (1, 50))
    drive.listings(bandit, cheap)
    batch = drive.batch(bandit, {"listing": cheap})
    drive.listings(bandit, dear)
    found = bandit.carry_out(pricing.price, [batch, drive.batch(bandit, {"listing": dear})])
    assert [len(answer["decisions"]) for answer in found] == [0, 1]
    assert "other terms meanwhile" in found[0]["errors"][0]["message"]


def test_what_is_to_be_sent_again_may_be_under_its_key(shop, monkeypatch):
    listing = {**MUG, "max_price": 9}
    register, others = prices.register_inline, [{**listing, "max_price": 8}]

    async def overtaken(service, embedded):
        lost = await register(service, embedded)
        if others:
            items = read_items(LISTINGS, [others.pop()])
            theirs = registering.unembedded(service.bandit, items)
            await service.work(registering.register, theirs, 1)
        return lost

    monkeypatch.setattr(prices, "register_inline", overtaken)

    def asked(*listings):
        body = {"requests": [{"listing": one} for one in listings]}
        key = {"Idempotency-Key": f"{len(listings)} listings"}
        return shop.post("/v1/prices", body, **key).json()

    first, second, third = (asked(listing) for _ in range(3))
    assert "send this one again" in first["errors"][0]["message"]
    assert len(second["decisions"]) == 1
    assert third == second
    # a body that contradicts itself is answered once
    two = listing, {**listing, "max_price": 7}
    assert asked(*two) == asked(*two)
    assert shop.count("decisions") == 2


def test_a_what_if_about_a_known_listing_keeps_its_own_sales(shop):
    decision = _priced(shop, MUG)
    shop.report(
        {"decision_id": decision["decision_id"], "outcome_id": "1", "impressions": 9999, "units": 9}
    )
    what_if, known = (
        shop.decide(request, record=False, explore=False)[0]
        for request in ({"listing": MUG}, {"listing_id": "mug"})
    )
    assert what_if["expected"] == pytest.approx(known["expected"], rel=1e-6)
    assert what_if["ladder"] == known["ladder"]


def test_a_what_if_in_another_currency_is_refused_as_registering_it_would_be(shop):
    shop.register(MUG, {**MUG, "listing_id": "cup"})
    requests = [{"listing_id": "cup"}, {"listing": {**MUG, "currency": "JPY"}}]
    for record in (False, True):
        answer = shop.price(*requests, record=record)
        assert [d["listing_id"] for d in answer["decisions"]] == ["cup"]
        assert [(e["index"], e["field"]) for e in answer["errors"]] == [(1, "listing.currency")]
        assert "delete the listing first" in answer["errors"][0]["message"]


# -- currencies -----------------------------------------------------------------------------


def test_currencies_do_not_leak_into_each_other(shop, titles):
    pounds = [
        {"listing_id": f"p{i}", "title": t, "currency": "GBP", "reference_price": 5 + i}
        for i, t in enumerate(titles)
    ]
    shop.register(*pounds)
    cold = {"listing_id": "cold", "title": titles[0], "currency": "GBP"}
    shop.register(cold)
    before = shop.client.get("/v1/listings/cold/demand").json()["guess"]
    shop.register(
        *(
            {**p, "listing_id": f"y{i}", "currency": "JPY", "reference_price": 2000.0 + i}
            for i, p in enumerate(pounds)
        )
    )
    shop.register({**cold, "listing_id": "cold yen", "currency": "JPY"})
    assert shop.client.get("/v1/listings/cold/demand").json()["guess"] == before
    yen = shop.client.get("/v1/listings/cold%20yen/demand").json()
    assert 1000 < yen["guess"]["price"] < 4000
    for name, others in (("cold", "p"), ("cold yen", "y")):
        near = shop.client.get(f"/v1/listings/{name}/similar?k=100").json()["similar"]
        assert near
        assert all(n["listing_id"].startswith(others) for n in near)
        evidence = shop.decide({"listing_id": name})[0]["evidence"]
        assert all(e["listing_id"].startswith(others) for e in evidence)
    first_of_its_currency = _priced(shop, {**cold, "listing_id": "dinar", "currency": "KWD"})
    assert first_of_its_currency["evidence"] == []


def test_evidence_shows_what_the_guess_rests_on(shop):
    near = {**MUG, "listing_id": "near", "reference_price": 10, "min_price": 80}
    silent = {"listing_id": "silent", "title": "blue ceramic mug", "currency": "GBP"}
    shop.register(near, silent)
    made = shop.decide({"listing_id": "near"}, {"listing_id": "silent"})
    assert made[0]["price"] >= 80
    shop.register({"listing_id": "new", "title": MUG["title"], "currency": "GBP"})
    evidence = shop.decide({"listing_id": "new"})[0]["evidence"]
    shown = {e["listing_id"]: e.get("price") for e in evidence}
    assert shown == {"near": 10, "silent": None}  # a price decided tells of no buyer yet


# -- markets --------------------------------------------------------------------------------


def test_markets_are_kept_as_sent(shop):
    market = {
        "text": "a rainy bank holiday\nin Leeds", "season": "winter", "competitor_price": 4.5,
        "traffic": 1200, "promotion": True, "humidity": 0.8, "channel": "app",
    }  # fmt: skip
    decision = _priced(shop, MUG, {"market": market, "unit": "u", "request_id": "r"})
    detail = shop.client.get(f"/v1/decisions/{decision['decision_id']}").json()
    assert detail["market"] == market
    assert (detail["unit"], detail["request_id"]) == ("u", "r")
    assert decision["degraded"] is False


def test_a_price_that_no_other_tells_of_says_so(shop):
    shop.register(MUG, {"listing_id": "bowl", "title": "a blue bowl", "currency": "GBP"})

    def reasons(**terms):
        listing = {"listing_id": "new", "title": "oak dining table", "currency": "JPY", **terms}
        decision = shop.decide({"listing": listing}, record=False)[0]
        assert decision["degraded"] == ("reason" in decision)
        return decision.get("reason")

    fix = "no price in JPY is known yet, nor a cost: send unit_cost or reference_price"
    assert reasons() == reasons(min_price=100) == fix
    free = "no price in JPY is known yet, and a unit_cost of 0 tells nothing of one: "
    assert reasons(unit_cost=0) == reasons(unit_cost=0.0) == f"{free}send reference_price"
    assert reasons(unit_cost=0, reference_price=20000) is None
    assert reasons(unit_cost=9000) is None
    assert reasons(reference_price=20000) is None
    assert reasons(currency="GBP") is None
    assert shop.decide({"listing_id": "bowl"})[0]["degraded"] is False
    shop.register({**MUG, "listing_id": "yen", "currency": "JPY", "reference_price": 800})
    assert reasons() is None


def test_a_competitors_price_tells_what_a_listing_is_worth(shop):
    shop.register(
        *({**MUG, "listing_id": f"m{i}", "reference_price": 4 + i % 5} for i in range(40))
    )
    shop.register({"listing_id": "new", "title": "grand piano", "currency": "GBP"})
    shop.register({"listing_id": "known", "title": "grand piano", "currency": "GBP",
                   "reference_price": 9, "unit_cost": 5})  # fmt: skip

    def best(name, *competitors):
        # in one request, of one time: a moment may turn a price between two pennies
        markets = [{} if price is None else {"competitor_price": price} for price in competitors]
        requests = [{"listing_id": name, "market": market} for market in markets]
        decisions = shop.decide(*requests, explore=False, record=False)
        assert [made["degraded"] for made in decisions] == [False] * len(competitors)
        return [made["price"] for made in decisions]

    alone, dear, free, absurd = best("new", None, 60, 0, 60e6)
    assert alone < 20
    assert dear > 2 * alone
    assert free == absurd == alone  # nothing is offered for nothing
    # what the seller charges is known; buyers who compare are another matter
    beside, before = best("known", 40, None)
    assert 0.8 < beside / before < 1.25


def test_a_competitor_is_enough_where_no_price_is_known(shop):
    request = {"listing": {"listing_id": "x", "title": "oak table", "currency": "JPY"}}
    told = {**request, "market": {"competitor_price": 20_000}}
    silent, made = shop.decide(request, told, explore=False, record=False)
    assert (silent["degraded"], made["degraded"]) == (True, False)
    assert 5_000 < made["price"] < 40_000


@pytest.mark.parametrize("promotion", [True, False, "sale", "", 0, 1, -3, 0.5, 1e15])
def test_promotions_are_said_in_several_ways(standing_shop, promotion):
    request = {"listing_id": "mug", "market": {"promotion": promotion}}
    _sound(standing_shop.decide(request)[0])


@pytest.mark.parametrize(("promotion", "on"), [("sale", True), ("", False), (" ", False)])
def test_an_empty_name_is_no_promotion(shop, promotion, on):
    shop.register(MUG)
    shop.decide({"listing_id": "mug", "market": {"promotion": promotion}})
    (row,) = shop.rows("SELECT features FROM decisions")
    assert (np.frombuffer(row["features"], np.float32)[NAMES.index("promotion")] > 0) == on


def test_passes_cover_every_row_once():
    rng = np.random.default_rng(0)
    family = rng.integers(-1, 3, 200)
    explored, recorded = rng.random((2, 200)) < 0.5
    number = np.sort(rng.integers(0, 9, 200))
    turn = np.where(recorded, rng.integers(0, 3, 200), 0)
    passes = rounds.passes_of(family, explored, recorded, number, turn)
    np.testing.assert_array_equal(np.sort(np.concatenate(passes)), np.arange(200))
    for rows in passes:
        assert len(set(explored[rows])) == len(set(recorded[rows])) == 1
        if not recorded[rows[0]] and (family[rows] >= 0).any():
            assert len(set(number[rows])) == 1
        assert len(set(turn[rows])) == 1
    assert [bool(recorded[rows[0]]) for rows in passes[:7]] == [True] * 6 + [False]
    assert [int(turn[rows[0]]) for rows in passes[:6]] == [0, 0, 1, 1, 2, 2]


def test_a_new_listing_is_guessed_by_the_amount_that_it_states(shop):
    # 120 jars whose prices grow as the root of what is in them, told in an attribute
    grams = np.geomspace(50, 3000, 120).round()
    jars = [
        {
            "listing_id": f"jar{i}", "title": "jar of honey", "currency": "GBP",
            "attributes": {"size": f"{g:.0f} g"}, "reference_price": round(float(g) ** 0.5, 2),
        }
        for i, g in enumerate(grams)
    ]  # fmt: skip
    fresh = [
        {
            "listing_id": f"new{g}",
            "title": "jar of honey",
            "currency": "GBP",
            "attributes": {"size": f"{g} g"},
        }
        for g in (75, 2400)
    ]
    assert shop.register(*jars, *fresh)["errors"] == []
    price = {
        g: shop.client.get(f"/v1/listings/new{g}/demand").json()["guess"]["price"]
        for g in (75, 2400)
    }
    assert price[75] == pytest.approx(75**0.5, rel=0.25)
    assert price[2400] == pytest.approx(2400**0.5, rel=0.25)
