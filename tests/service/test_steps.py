"""A step counts from the price decided before, also where requests come together."""

import itertools
import random

import pytest

from service import pricing, rounds

MUG = {"listing_id": "mug", "title": "red ceramic mug", "currency": "GBP", "reference_price": 5}


@pytest.fixture
def stepping(open_bandit, drive):
    """Two scarves, of which one may step by a tenth, where prices are drawn almost evenly."""
    bandit = open_bandit(temperature=10.0, budget=1.0)
    scarf = {**MUG, "title": "wool winter scarf", "reference_price": 100}
    drive.listings(
        bandit, {**scarf, "listing_id": "step", "max_step": 0.1}, {**scarf, "listing_id": "leap"}
    )
    return bandit


@pytest.fixture
def passes(monkeypatch):
    """Ids of the listings that were priced together, a list for each pass."""
    seen, decide = [], rounds.decide

    def spy(policy, subjects, *rest):
        seen.append(subjects.listing_id.tolist())
        return decide(policy, subjects, *rest)

    monkeypatch.setattr(rounds, "decide", spy)
    return seen


def _prices(answers):
    assert all(answer["errors"] == [] for answer in answers)
    return [d["price"] for answer in answers for d in answer["decisions"]]


def _largest_step(prices):
    return max(abs(then / first - 1) for first, then in itertools.pairwise(prices))


def test_max_step_holds_between_requests_of_one_body(stepping, drive):
    prices = [100.0]
    for _ in range(3):
        decisions = drive.prices(stepping, *[{"listing_id": "step"}, {"listing_id": "leap"}] * 20)
        prices += [d["price"] for d in decisions[::2]]
        assert _largest_step([d["price"] for d in decisions[1::2]]) > 0.11
    assert 0.05 < _largest_step(prices) < 0.101
    assert stepping.catalogue.last_price[stepping.catalogue.row_of["step"]] == prices[-1]


def test_max_step_holds_between_requests_that_share_a_transaction(stepping, drive):
    batches = [drive.batch(stepping, {"listing_id": "step"}, explore=i % 3 > 0) for i in range(20)]
    batches.append(drive.batch(stepping, {"listing_id": "step"}, record=False))
    prices = _prices(stepping.carry_out(pricing.price, batches))
    assert _largest_step([100.0, *prices]) < 0.101


def test_a_step_counts_from_the_request_before_also_where_that_says_its_current_price(
    stepping, drive
):
    batch = drive.batch(
        stepping,
        *(
            {"listing_id": "step", **({"current_price": 50} if i % 4 == 2 else {})}
            for i in range(9)
        ),
    )
    first, *then = _prices(stepping.carry_out(pricing.price, [batch]))
    assert 90 <= first <= 110
    for i, (before, price) in enumerate(itertools.pairwise([first, *then]), 1):
        assert abs(price / (50 if i % 4 == 2 else before) - 1) < 0.101


@pytest.mark.parametrize("together", [True, False])
def test_a_listing_without_any_price_steps_from_the_first_that_a_body_says(
    open_bandit, drive, together
):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    drive.listings(
        bandit,
        *({**MUG, "listing_id": f"dear {i}", "reference_price": 200 + i} for i in range(5)),
        {"listing_id": "new", "title": "red mug", "currency": "GBP", "max_step": 0.1},
    )
    plain, said = {"listing_id": "new"}, {"listing_id": "new", "current_price": 6.5}
    asked = [plain, plain, said, plain, {**said, "current_price": 30}, plain]
    parts = [asked] if together else [asked[:2], asked[2:]]
    batches = [drive.batch(bandit, *part) for part in parts]
    one, other, first, third, fourth, last = _prices(bandit.carry_out(pricing.price, batches))
    assert abs(first / 6.5 - 1) < 0.101
    assert abs(fourth / 30 - 1) < 0.101
    assert _largest_step([first, one]) < 0.101
    assert max(one, other, third) / min(one, other, third) < 1.101
    assert _largest_step([fourth, last]) < 0.101


def test_only_requests_that_step_from_others_are_priced_apart(stepping, drive, passes):
    drive.prices(stepping, *[{"listing_id": "leap"}] * 3, {"listing_id": "step"})
    drive.prices(stepping, *[{"listing_id": "step", "current_price": 99}] * 3)
    drive.prices(stepping, *[{"listing_id": "step"}] * 3, record=False)
    drive.prices(stepping, *[{"listing_id": "step"}, {"listing_id": "leap"}] * 2)
    assert passes[:3] == [["leap"] * 3 + ["step"], ["step"] * 3, ["step"] * 3]
    assert passes[3:] == [["step", "leap", "leap"], ["step"]]


def test_those_that_say_a_current_price_come_first_then_one_then_the_rest(stepping, drive, passes):
    said = {"listing_id": "step", "current_price": 99}
    drive.prices(stepping, {"listing_id": "step"}, said, *[{"listing_id": "step"}] * 3, said)
    assert [len(priced) for priced in passes] == [2, 1, 3]


def test_many_requests_for_a_listing_that_steps_are_priced_together(stepping, drive, passes):
    batches = [
        drive.batch(stepping, *[{"listing_id": "step"}] * 200, explore=i > 0) for i in range(3)
    ]
    first, *others = _prices(stepping.carry_out(pricing.price, batches))
    assert [len(priced) for priced in passes] == [1, 400, 199]
    assert 90 <= first <= 110
    assert 1.05 < max(others) / min(others) < 1.1
    assert max(abs(price / first - 1) for price in others) < 0.1
    row = stepping.catalogue.row_of["step"]
    assert stepping.catalogue.number["max_step"][row] == 0.1
    assert stepping.catalogue.last_price[row] == others[-1]


def test_the_first_of_several_requests_may_use_the_whole_step(stepping, drive):
    listing = {**MUG, "listing_id": "dearer", "reference_price": 100, "max_step": 0.1}
    drive.listings(stepping, {**listing, "min_price": 108})
    prices = [d["price"] for d in drive.prices(stepping, *[{"listing_id": "dearer"}] * 5)]
    assert len(prices) == 5
    assert prices[0] <= 110
    assert min(prices) >= 108
    assert _largest_step(prices) < 0.1


@pytest.mark.parametrize("refused", [1, 2])
def test_where_the_first_request_is_refused_the_next_one_opens(open_bandit, drive, refused):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    over = {"listing_id": "new", "title": "a scarf", "currency": "GBP", "unit_cost": 2}
    drive.listings(bandit, {**over, "max_step": 0.05, "sell_by": "2020-01-01"})
    requests = [{"listing_id": "new", "periods_left": 10}] * 8
    requests[:refused] = [{"listing_id": "new"}] * refused  # a last day that is past
    batches = [
        drive.batch(bandit, *requests[:5]),
        drive.batch(bandit, *requests[5:], explore=False),
    ]
    answers = bandit.carry_out(pricing.price, batches)
    assert [e["index"] for answer in answers for e in answer["errors"]] == list(range(refused))
    decisions = [d for answer in answers for d in answer["decisions"]]
    assert len(decisions) == 8 - refused
    prices = [d["price"] for d in decisions]
    assert len(set(prices)) > 1
    assert max(prices) / min(prices) <= 1.05 + 1e-9
    opened = min(decisions, key=lambda d: d["decision_id"])["price"]
    assert max(abs(price / opened - 1) for price in prices) <= 0.05


def test_where_the_price_that_opens_is_held_too_low_the_next_unit_opens(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    member = {"title": "a scarf", "currency": "GBP", "family": "scarves"}
    drive.listings(bandit, {**member, "listing_id": "low", "max_price": 8})
    drive.prices(bandit, {"listing_id": "low", "unit": "mon"})
    drive.listings(
        bandit,
        {**member, "listing_id": "steps", "min_price": 9, "max_step": 0.05},
        {**member, "listing_id": "high", "min_price": 9},
    )
    asked = [{"listing_id": "steps", "unit": unit} for unit in ("mon", "tue", "wed", "thu")]
    (answer,) = bandit.carry_out(pricing.price, [drive.batch(bandit, *asked)])
    assert [e["index"] for e in answer["errors"]] == [0]
    prices = [d["price"] for d in answer["decisions"]]
    assert len(prices) == 3
    assert max(prices) / min(prices) <= 1.05 + 1e-9


def test_a_family_whose_members_all_step_agrees_however_often_each_is_asked_about(
    open_bandit, drive
):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    steps = {**MUG, "family": "mugs", "max_step": 0.2}
    drive.listings(bandit, *({**steps, "listing_id": name} for name in "ab"))
    units = [str(i) for i in range(12)]
    asked = [*(("a", unit) for unit in units), *(("b", unit) for unit in units[::-1]), ("a", "0")]
    decisions = drive.prices(bandit, *({"listing_id": i, "unit": unit} for i, unit in asked))
    price = {}
    for (_, unit), decision in zip(asked, decisions, strict=True):
        assert price.setdefault(unit, decision["price"]) == decision["price"]
    assert len(set(price.values())) > 1
    assert _largest_step([5.0, *price.values()]) < 0.2


def test_members_of_a_family_wait_for_the_one_that_steps(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    drive.listings(
        bandit,
        {**MUG, "listing_id": "leap", "family": "mugs"},
        {**MUG, "listing_id": "step", "family": "mugs", "max_step": 0.02},
    )
    asked = [
        {"listing_id": name, "unit": f"store {i}"} for i in range(20) for name in ("leap", "step")
    ]
    prices = [d["price"] for d in drive.prices(bandit, *asked)]
    assert prices[::2] == prices[1::2]
    assert _largest_step(prices) < 0.0205


def test_a_listing_that_never_had_a_price_steps_from_its_first_also_in_a_family(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    priced = {**MUG, "max_step": 0.1}
    unpriced = {name: value for name, value in priced.items() if name != "reference_price"}
    for i in range(5):
        a, b, family = f"a{i}", f"b{i}", {"family": f"mugs {i}"}
        drive.listings(
            bandit,
            {**unpriced, "listing_id": a, **family},
            {**priced, "listing_id": b, **family},
        )
        asked = [(b, "1"), (b, "2"), (a, "2"), (a, "3"), (a, "4")]
        prices = [
            d["price"]
            for d in drive.prices(bandit, *({"listing_id": name, "unit": u} for name, u in asked))
        ]
        assert prices[1] == prices[2]
        assert _largest_step([5.0, *prices[:2]]) < 0.101
        assert max(abs(price / prices[2] - 1) for price in prices[3:]) < 0.101
        assert max(prices[2:]) / min(prices[2:]) < 1.101


def test_members_that_never_had_a_price_keep_to_their_steps_in_whatever_order_they_are_asked_about(
    open_bandit, drive
):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    draw = random.Random(1)
    for i in range(12):
        names = [f"{i} {letter}" for letter in "abcd"]
        member = {"title": MUG["title"], "currency": "GBP", "family": f"mugs {i}", "max_step": 0.2}
        drive.listings(bandit, *({**member, "listing_id": name} for name in names))
        asked = [{"listing_id": draw.choice(names), "unit": draw.choice("12345")} for _ in range(9)]
        answer = bandit.carry_out(pricing.price, [drive.batch(bandit, *asked)])[0]
        refused = {error["index"] for error in answer["errors"]}
        sound = [request for j, request in enumerate(asked) if j not in refused]
        held, charged = {}, {}
        for request, decision in zip(sound, answer["decisions"], strict=True):
            price = decision["price"]
            assert held.setdefault(request["unit"], price) == price
            charged.setdefault(request["listing_id"], []).append(price)
        for prices in charged.values():
            # of two the one decided first may be the higher: 1 / (1 - 0.2)
            assert max(prices) / min(prices) < 1.251


def test_a_member_asked_about_twice_in_one_unit_may_use_its_whole_step(open_bandit, drive):
    bandit = open_bandit()
    listing = {**MUG, "family": "mugs", "max_step": 0.1, "reference_price": 100}
    drive.listings(bandit, {**listing, "unit_cost": 108})
    twice = drive.prices(bandit, *[{"listing_id": "mug", "unit": "u"}] * 3)
    assert len({decision["price"] for decision in twice}) == 1
    assert 108 <= twice[0]["price"] <= 110


def test_members_that_say_a_price_wait_for_those_that_step(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    for i in range(5):
        p, q, family = f"p{i}", f"q{i}", {"family": f"mugs {i}"}
        drive.listings(
            bandit,
            {**MUG, "listing_id": p, **family, "max_step": 0.02, "reference_price": 10},
            {**MUG, "listing_id": q, **family, "max_step": 0.9, "reference_price": 20},
        )
        asked = [
            {"listing_id": p, "unit": "1"},
            {"listing_id": p, "unit": "2"},
            {"listing_id": q, "unit": "2", "current_price": 20},
        ]
        _, one, other = (decision["price"] for decision in drive.prices(bandit, *asked))
        assert one == other


def test_ids_rise_as_prices_are_decided(open_bandit, drive):
    bandit = open_bandit(temperature=10.0, budget=1.0)
    worst = 0.0
    for i in range(20):
        a, b = f"a{i}", f"b{i}"
        terms = {**MUG, "reference_price": 100, "family": f"f{i}", "max_step": 0.3}
        drive.listings(bandit, {**terms, "listing_id": a}, {**terms, "listing_id": b})
        asked = [(b, "u"), (a, "v"), (a, "u")]
        made = drive.prices(bandit, *({"listing_id": n, "unit": u} for n, u in asked))
        mine = sorted((d["decision_id"], d["price"]) for d in made if d["listing_id"] == a)
        worst = max(worst, _largest_step([100.0, *(price for _, price in mine)]))
    assert 0.1 < worst < 0.301
