"""A step counts from the price decided before, also where requests come together."""

import itertools

import pytest

from service import pricing

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
    seen, decide = [], pricing.decide

    def spy(policy, subjects, *rest):
        seen.append(subjects.listing_id.tolist())
        return decide(policy, subjects, *rest)

    monkeypatch.setattr(pricing, "decide", spy)
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


def test_only_requests_that_step_from_others_are_priced_apart(stepping, drive, passes):
    drive.prices(stepping, *[{"listing_id": "leap"}] * 3, {"listing_id": "step"})
    drive.prices(stepping, *[{"listing_id": "step", "current_price": 99}] * 3)
    drive.prices(stepping, *[{"listing_id": "step"}] * 3, record=False)
    drive.prices(stepping, *[{"listing_id": "step"}, {"listing_id": "leap"}] * 2)
    assert passes[:3] == [["leap"] * 3 + ["step"], ["step"] * 3, ["step"] * 3]
    assert passes[3:] == [["step", "leap", "leap"], ["step"]]


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
