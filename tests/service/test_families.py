"""Listings of a family have one price, within a batch and within a unit."""

import numpy as np
import pytest

from service import bounds, family_prices, pricing
from service.catalogue import Catalogue
from service.family_prices import FamilyPrices

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}


def _family(shop, n=4, **fields):
    members = [{**MUG, "listing_id": f"m{i}", "family": "mugs", **fields} for i in range(n)]
    assert shop.register(*members)["errors"] == []
    return [{"listing_id": m["listing_id"]} for m in members]


def test_a_family_has_one_price_within_a_batch(shop):
    shop.register({**MUG, "listing_id": "alone"})
    members = _family(shop)
    decisions = shop.decide(members[0], {"listing_id": "alone"}, *members[1:])
    family = [d for d in decisions if d["listing_id"] != "alone"]
    assert len({d["price"] for d in family}) == 1
    assert len({d["propensity"] for d in family}) == 1
    assert all("family" in d["guardrails"] for d in family)
    assert "family" not in decisions[1]["guardrails"]


def test_a_family_keeps_its_price_in_one_unit_and_may_change_it_in_another(lively_shop):
    members = _family(lively_shop)
    prices = []
    for i in range(30):
        unit = {"unit": f"week {i}"}
        first = lively_shop.decide({**members[0], **unit})[0]
        rest = lively_shop.decide(*({**m, **unit} for m in members))
        assert {d["price"] for d in rest} == {first["price"]}
        assert all(d["propensity"] == 1.0 for d in rest)  # nothing was drawn any more
        assert all("family" in d["guardrails"] for d in rest)
        prices.append(first["price"])
    assert len(set(prices)) > 1


def test_a_family_keeps_the_prices_of_all_its_units(lively_shop):
    members = _family(lively_shop, 3)
    units = [{"unit": f"store {i}"} for i in range(20)]
    first = [lively_shop.decide({**members[0], **unit})[0]["price"] for unit in units]
    today = lively_shop.decide(members[0])[0]["price"]
    asked = [{**member, **unit} for unit in units for member in members[1:]]
    assert [d["price"] for d in lively_shop.decide(*asked)] == [p for p in first for _ in "12"]
    assert lively_shop.decide(members[1])[0]["price"] == today
    assert len(set(first)) > 1


def test_units_keep_their_prices_within_a_transaction(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    drive.listings(bandit, *({**MUG, "listing_id": f"m{i}", "family": "mugs"} for i in range(2)))
    units = [{"unit": f"store {i}"} for i in range(20)]
    batches = [
        drive.batch(bandit, *({"listing_id": "m0", **unit} for unit in units)),
        drive.batch(bandit, *({"listing_id": "m1", **unit} for unit in units), explore=False),
    ]
    one, other = bandit.carry_out(pricing.price, batches)
    prices = [[d["price"] for d in answer["decisions"]] for answer in (one, other)]
    assert prices[0] == prices[1]
    assert len(set(prices[0])) > 1


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_restart_keeps_the_prices_of_all_units(bandit_on, drive, snapshot):
    bandit = bandit_on(temperature=10.0, budget=1.0)
    drive.listings(bandit, *({**MUG, "listing_id": f"m{i}", "family": "mugs"} for i in range(2)))
    asked = [{"unit": f"store {i}"} for i in range(20)] + [{}]
    first = []
    for i, unit in enumerate(asked):
        if snapshot and i == 10:  # the rest is read from the log
            bandit.snapshot()
        first.append(drive.prices(bandit, {"listing_id": "m0", **unit})[0]["price"])
    bandit.close()
    again = bandit_on(temperature=10.0, budget=1.0)
    assert again.catalogue.family_prices == bandit.catalogue.family_prices
    then = drive.prices(again, *({"listing_id": "m1", **unit} for unit in asked))
    assert [d["price"] for d in then] == first


def test_the_units_decided_about_last_are_kept():
    day = 86_400_000_000
    prices, kept = FamilyPrices(), [f"customer {i}" for i in range(family_prices.UNITS_KEPT)]
    prices.note(0, "old", day, (1, "GBP"))
    prices.note(0, "asked again", day, (2, "GBP"))
    prices.note(1, "old", day, (3, "GBP"))
    for number, unit in enumerate(kept[2:]):
        prices.note(0, unit, day, (number, "GBP"))
    prices.note(0, "asked again", day, (2, "GBP"))
    assert prices.of(0, "old") == (1, "GBP")
    prices.note(0, "one more", day, (4, "GBP"))
    assert prices.of(0, "old") is None
    assert prices.of(0, "asked again") == (2, "GBP")
    assert prices.of(1, "old") == (3, "GBP")  # each family has its own
    assert len(prices.units[0]) == family_prices.UNITS_KEPT
    for number in range(3):  # days count for none of them, and only the two latest are kept
        prices.note(0, None, number * day, (number, "GBP"))
    two = [(1, "GBP"), (2, "GBP")]
    assert [prices.of(0, f"1970-01-0{i}") for i in (1, 2, 3)] == [None, *two]
    assert prices.of(0, kept[2]) == (0, "GBP")


def test_a_clock_that_was_days_ahead_leaves_todays_price():
    day, prices = 86_400_000_000, FamilyPrices()
    for ahead in (8, 9, 1):
        prices.note(0, None, ahead * day, (ahead, "GBP"))
    assert prices.of(0, "1970-01-02") == (1, "GBP")
    assert prices.of(0, "1970-01-10") == (9, "GBP")


@pytest.mark.parametrize("restarted", ["with a snapshot", "from the log", None])
def test_a_clock_put_right_at_midnight_finds_the_price_of_either_day(
    bandit_on, drive, monkeypatch, restarted
):
    midnight = 20_000 * 86_400_000_000
    drawn = {"temperature": 10.0, "budget": 1.0}
    bandit = bandit_on(**drawn)
    drive.listings(bandit, *({**MUG, "listing_id": f"m{i}", "family": f"f{i}"} for i in range(20)))

    def prices(at):
        monkeypatch.setattr(pricing, "now_us", lambda: at)
        asked = ({"listing_id": f"m{i}"} for i in range(20))
        return [d["price"] for d in drive.prices(bandit, *asked)]

    before, after = prices(midnight - 1), prices(midnight)
    assert before != after
    if restarted:
        if restarted == "with a snapshot":
            bandit.snapshot()
        bandit.close()
        bandit = bandit_on(**drawn)
    assert prices(midnight - 2) == before
    assert prices(midnight + 1) == after


def test_without_a_unit_a_family_keeps_its_price_for_the_day(lively_shop, monkeypatch):
    members = _family(lively_shop)
    day = 86_400_000_000
    now = [20_000 * day]
    monkeypatch.setattr(pricing, "now_us", lambda: now[0])
    seen = set()
    for i in range(30):
        now[0] = (20_000 + i) * day
        first = {d["price"] for d in lively_shop.decide(*members)}
        now[0] += day - 1
        assert {d["price"] for d in lively_shop.decide(*members)} == first
        assert len(first) == 1
        seen |= first
    assert len(seen) > 1


def test_members_that_exclude_the_one_price_are_refused_and_hold_back_nobody(shop):
    members = _family(shop)
    shop.register({**MUG, "listing_id": "dear", "family": "mugs", "min_price": 900})
    answer = shop.price({**members[0], "unit": "u"}, {"listing_id": "dear", "unit": "u"})
    held = answer["decisions"][0]["price"]
    # together they can agree on 900; a family already held cannot
    assert [d["price"] for d in answer["decisions"]] == [held] * len(answer["decisions"])
    shop.register({**MUG, "listing_id": "low", "family": "mugs", "max_price": 1})
    answer = shop.price(*members, {"listing_id": "low"}, {"listing_id": "dear"})
    assert [d["listing_id"] for d in answer["decisions"]] == ["m0", "m1", "m2", "m3", "low"]
    assert {d["price"] for d in answer["decisions"]} == {answer["decisions"][0]["price"]}
    (error,) = answer["errors"]
    assert (error["index"], error["field"]) == (5, "family")
    assert "exclude the one price of its family" in error["message"]
    again = shop.price({"listing_id": "dear"}, members[2])
    assert [e["index"] for e in again["errors"]] == [0]
    assert again["decisions"][0]["price"] == answer["decisions"][0]["price"]


def _asked_in_turn(bandit, drive, names, together):
    """Price of each listing that gets one, asked about together or one after the other."""
    bodies = [names] if together else [[name] for name in names]
    found = {}
    for body in bodies:
        batch = drive.batch(bandit, *({"listing_id": name} for name in body))
        (answer,) = bandit.carry_out(pricing.price, [batch])
        found |= {d["listing_id"]: d["price"] for d in answer["decisions"]}
    return found


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("first", ["cheap", "dear"])
def test_a_family_agrees_on_what_suits_all_whoever_is_asked_about_first(
    open_bandit, drive, together, first
):
    bandit = open_bandit()
    terms = {"title": MUG["title"], "currency": "GBP", "family": "mugs"}
    cheap = {**terms, "listing_id": "cheap", "unit_cost": 1, "reference_price": 3}
    dear = {**terms, "listing_id": "dear", "unit_cost": 8, "max_price": 12}
    drive.listings(bandit, cheap, dear)
    names = [first, *({"cheap", "dear"} - {first})]
    found = _asked_in_turn(bandit, drive, names, together)
    assert found.keys() == {"cheap", "dear"}
    assert len(set(found.values())) == 1
    assert 8 <= found["cheap"] <= 12
    made = drive.prices(bandit, {"listing_id": "cheap", "unit": "alone"})[0]
    assert made["price"] >= 8
    assert "family" in made["guardrails"]


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    "slip", [{"max_price": 1.99, "unit_cost": 0.5}, {"unit_cost": 500}, {"price_ending": 0.99}]
)
def test_the_odd_one_of_a_family_is_refused_though_it_is_asked_about_first(
    open_bandit, drive, together, slip
):
    bandit = open_bandit()
    member = {**MUG, "family": "mugs", "unit_cost": 4, "max_price": 20}
    names = [f"m{i}" for i in range(4)]
    odd = {**member, "max_price": 900, **slip}
    drive.listings(
        bandit, *({**(member if i else odd), "listing_id": n} for i, n in enumerate(names))
    )
    found = _asked_in_turn(bandit, drive, names, together)
    assert found.keys() == set(names[1:])
    assert len(set(found.values())) == 1
    drive.delete(bandit, "m0")
    drive.listings(bandit, {**member, "listing_id": "m0"})
    assert len(_asked_in_turn(bandit, drive, names, together)) == 4


def test_members_that_step_come_as_near_as_they_may_to_what_suits_their_family(open_bandit, drive):
    bandit = open_bandit()
    member = {**MUG, "family": "mugs", "max_step": 0.1}
    names = [f"m{i}" for i in range(3)]
    drive.listings(
        bandit,
        *({**member, "listing_id": name} for name in names),
        {"listing_id": "dear", "title": MUG["title"], "currency": "GBP", "family": "mugs",
         "unit_cost": 6},
    )  # fmt: skip
    found = []
    for unit in ("mon", "tue", "wed"):
        asked = [{"listing_id": name, "unit": unit} for name in (*names, "dear")]
        (answer,) = bandit.carry_out(pricing.price, [drive.batch(bandit, *asked)])
        found.append([d["price"] for d in answer["decisions"]])
    assert found[0] == [5.5] * 3
    assert [len(prices) for prices in found[1:]] == [4, 4]
    assert 6 <= min(found[1]) == max(found[1]) <= 6.05


def test_a_what_if_may_contradict_its_family_as_it_is(shop):
    shop.register({**MUG, "family": "mugs", "max_price": 6})
    what_if = {"listing": {**MUG, "family": "mugs", "min_price": 7}}
    assert shop.decide(what_if, record=False)[0]["price"] >= 7


def test_ranges_that_most_of_a_group_allow():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(40), rng.integers(1, 9, 40)))
    lower = rng.integers(0, 30, len(group))
    upper = lower + rng.integers(0, 12, len(group))
    low, high, count = bounds._most(group, lower, upper)
    for g in range(40):
        mine = group == g
        there = np.array([((lower[mine] <= p) & (p <= upper[mine])).sum() for p in range(50)])
        assert count[g] == there.max()
        assert low[g] == there.argmax()
        assert (there[low[g] : high[g] + 1] == count[g]).all()
        assert high[g] in upper[mine]


def test_a_held_price_that_no_member_allows_any_more_holds_nobody(shop):
    members = _family(shop)
    asked = [{**member, "unit": "store-5"} for member in members]
    held = {d["price"] for d in shop.decide(*asked)}
    assert len(held) == 1
    terms = {**MUG, "family": "mugs"}
    shop.register({**terms, "listing_id": "m0", "unit_cost": max(held) + 1})
    answer = shop.price(*asked)  # the others still allow it
    assert [e["index"] for e in answer["errors"]] == [0]
    dearer = [{**terms, "listing_id": m["listing_id"], "unit_cost": max(held) + 1} for m in members]
    shop.register(*dearer)
    (new,) = {d["price"] for d in shop.decide(*asked)}
    assert new > max(held) + 1
    assert {d["price"] for d in shop.decide(*asked)} == {new}


def test_a_held_price_is_given_again_whatever_the_step(lively_shop):
    members = _family(lively_shop, 2, reference_price=20, unit_cost=5, max_step=0.1)
    first = {}
    for i in [*range(20), *range(20)]:  # steps lead far away from the first unit's
        made = lively_shop.decide(*({**member, "unit": f"store {i}"} for member in members))
        (first[i],) = {d["price"] for d in made} | ({first[i]} if i in first else set())
    assert max(first.values()) / min(first.values()) > 1.1
    assert not any("max_step" in d["guardrails"] for d in made)
    # nor does a step keep it from one that other limits keep to it
    lively_shop.register(
        {**MUG, "listing_id": "m0", "family": "mugs", "max_step": 0.1, "reference_price": 20,
         "max_price": first[0]},
    )  # fmt: skip
    asked = {**members[0], "unit": "store 0", "current_price": 2 * first[0]}
    assert lively_shop.decide(asked)[0]["price"] == first[0]


def test_a_member_without_an_allowed_price_sinks_only_itself(shop):
    members = _family(shop)
    shop.register({**MUG, "listing_id": "stuck", "family": "mugs", "max_step": 0.1, "max_price": 3})
    answer = shop.price({"listing_id": "stuck"}, *members)
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(0, "max_step")]
    assert len(answer["decisions"]) == 4


def test_members_unlike_their_family_are_refused(shop):
    members = _family(shop)
    shop.register(
        {**MUG, "listing_id": "yen", "family": "mugs", "currency": "JPY"},
        {**MUG, "listing_id": "ending", "family": "mugs", "price_ending": 0.99},
    )
    odd = [{"listing_id": "yen"}, {"listing_id": "ending"}]
    answer = shop.price(*members, *odd)
    assert [(e["index"], e["field"]) for e in answer["errors"]] == [(4, "family"), (5, "family")]
    assert len(answer["decisions"]) == 4
    # nor may they take over the price that the family holds
    later = shop.price(*odd)
    refused = {e["index"] for e in later["errors"]}
    assert 0 in refused
    for decision in later["decisions"]:
        assert decision["price"] % 1 == pytest.approx(0.99)


def test_a_family_keeps_one_price_however_requests_share_a_transaction(open_bandit, drive):
    bandit = open_bandit(temperature=10.0)
    members = [{**MUG, "listing_id": f"m{i}", "family": "mugs"} for i in range(3)]
    drive.listings(bandit, *members)
    seen = set()
    for i in range(60):  # of which one in five is drawn, not the best
        batches = [
            drive.batch(bandit, {"listing_id": "m0", "unit": f"u{i}"}, explore=False),
            drive.batch(bandit, {"listing_id": "m1", "unit": f"u{i}"}),
            drive.batch(bandit, {"listing_id": "m2", "unit": f"u{i}"}, record=False),
        ]
        answers = bandit.carry_out(pricing.price, batches)
        prices = {answer["decisions"][0]["price"] for answer in answers}
        assert len(prices) == 1
        seen |= prices
    assert len(seen) > 1


def test_what_ifs_move_no_other_price(open_bandit, drive):
    bandit = open_bandit()
    drive.listings(
        bandit,
        {**MUG, "listing_id": "m0", "family": "mugs", "max_price": 6},
        {**MUG, "listing_id": "m1", "family": "mugs", "min_price": 7},
    )
    asked = [
        drive.batch(bandit, {"listing_id": "m1"}, record=False),
        drive.batch(bandit, {"listing_id": "m0"}, explore=False),
    ]
    what_if, recorded = bandit.carry_out(pricing.price, asked)
    assert recorded["errors"] == []
    assert recorded["decisions"][0]["price"] <= 6
    # the family's price is decided by then, and the what-if cannot have it
    assert what_if["errors"][0]["field"] == "family"


def test_families_of_what_ifs_are_told_apart(shop):
    members = _family(shop, 1)
    held = shop.decide(*members)[0]["price"]

    def inline(name, family):
        return {"listing": {**MUG, "listing_id": name, "reference_price": 500, "family": family}}

    one, two, other = shop.decide(
        inline("a", "new"), inline("b", "new"), inline("c", "newer"), record=False
    )
    assert one["price"] == two["price"]
    assert held not in (one["price"], other["price"])
    assert shop.decide({"listing": {**MUG, "family": "mugs"}}, record=False)[0]["price"] == held


@pytest.mark.parametrize("restart", [False, True])
def test_a_family_that_left_its_currency_is_held_to_no_price_in_it(bandit_on, drive, restart):
    bandit = bandit_on()
    members = [{**MUG, "listing_id": f"m{i}", "family": "mugs"} for i in range(2)]
    drive.listings(bandit, *members)
    asked = [{"listing_id": "m0", "unit": "store 1"}, {"listing_id": "m0"}]
    drive.prices(bandit, *asked)
    euro = [{**member, "currency": "EUR"} for member in members]
    drive.delete(bandit, "m0")
    drive.listings(bandit, euro[0])
    # m1 is still in pounds, and the family with it
    refused = bandit.carry_out(pricing.price, [drive.batch(bandit, *asked)])[0]["errors"]
    assert [(e["index"], e["field"]) for e in refused] == [(0, "family"), (1, "family")]
    drive.delete(bandit, "m1")
    if restart:
        bandit.close()
        bandit = bandit_on()
    first = drive.prices(bandit, *asked)
    assert {d["currency"] for d in first} == {"EUR"}
    drive.listings(bandit, euro[1])
    then = drive.prices(bandit, *({**request, "listing_id": "m1"} for request in asked))
    assert [d["price"] for d in then] == [d["price"] for d in first]


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_restart_keeps_the_prices_of_a_family_that_all_members_have_left(
    bandit_on, drive, snapshot
):
    bandit = bandit_on(temperature=10.0, budget=1.0)
    drive.listings(bandit, {**MUG, "family": "mugs"})
    asked = [{"unit": f"store {i}"} for i in range(10)] + [{}]
    first = [d["price"] for d in drive.prices(bandit, *({"listing_id": "mug", **u} for u in asked))]
    drive.listings(bandit, {**MUG, "family": "cups"})
    if snapshot:
        bandit.snapshot()
    bandit.close()
    again = bandit_on(temperature=10.0, budget=1.0)
    drive.listings(again, {**MUG, "listing_id": "joins", "family": "mugs"})
    then = drive.prices(again, *({"listing_id": "joins", **unit} for unit in asked))
    assert [d["price"] for d in then] == first


def test_a_member_that_decides_alone_is_not_said_to_follow_its_family(open_bandit, drive):
    bandit = open_bandit()
    mug = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "family": "mugs"}
    drive.listings(bandit, {**mug, "reference_price": 5})
    once = drive.prices(bandit, {"listing_id": "mug", "unit": "a"}, explore=False, record=False)
    twice = drive.prices(bandit, *[{"listing_id": "mug", "unit": "a"}] * 2, explore=False,
                         record=False)  # fmt: skip
    assert [d["guardrails"] for d in once + twice] == [[], [], []]


def test_what_makes_no_sense_of_one_member_keeps_none_from_their_price(shop):
    # a download costs next to nothing, and whoever sells it may not have said for how much
    cheap = [{**MUG, "listing_id": f"m{i}", "family": "f", "unit_cost": 1e-5} for i in range(2)]
    listings = [{k: v for k, v in one.items() if k != "reference_price"} for one in cheap]
    shop.register(*listings, {**MUG, "listing_id": "m2", "family": "f", "min_price": 20})
    made = shop.decide(*({"listing_id": f"m{i}"} for i in range(3)), record=False)
    assert len({d["price"] for d in made}) == 1
    assert made[0]["price"] >= 20


@pytest.mark.parametrize("reference", [0.001, 1e6])
def test_a_held_price_is_given_whether_or_not_it_makes_sense(shop, reference):
    members = _family(shop)
    first = shop.decide(*members)[0]["price"]
    shop.register({**MUG, "listing_id": "m1", "family": "mugs", "reference_price": reference})
    assert {d["price"] for d in shop.decide(*members)} == {first}


def test_held_prices_that_nobody_can_have_are_looked_up_at_once(shop, monkeypatch):
    def families(**fields):
        return [{**MUG, "listing_id": f"m{i}", "family": f"f{i // 2}"} | fields for i in range(40)]

    shop.register(*families())
    asked = [{"listing_id": f"m{i}"} for i in range(40)]
    first = [d["price"] for d in shop.decide(*asked)]
    # all but the last two, one of whose family can still have its price
    shop.register(*families(min_price=100)[:39], families()[39])
    looked, members = [], Catalogue.members
    monkeypatch.setattr(Catalogue, "members", lambda *args: looked.append(args) or members(*args))
    answer = shop.price(*asked)
    assert [e["index"] for e in answer["errors"]] == [38]
    prices = [d["price"] for d in answer["decisions"]]
    assert prices[-1] == first[-1]
    assert min(prices[:-1]) >= 100
    assert len(looked) < 10
