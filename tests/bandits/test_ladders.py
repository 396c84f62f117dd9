import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bandits import GUARDRAILS, Policy, geometric_ladders, limits
from bandits.ladders import with_arm_below

unknown = st.just(np.nan)
money = unknown | st.floats(0.01, 500.0) | st.integers(1, 50_000).map(lambda m: m / 100)


@st.composite
def worlds(draw):
    """Feasible limits of one row with the ends wished for, minor units."""
    per_major = draw(st.sampled_from([1, 100, 1000]))
    ending = st.integers(0, per_major - 1).map(lambda m: m / per_major)
    rules = {
        "unit_cost": draw(money),
        "min_price": draw(money),
        "max_price": draw(money),
        "minimum_advertised_price": draw(money),
        "current_price": draw(money),
        "max_step": draw(unknown | st.floats(0.0, 2.0)),
        "price_ending": draw(unknown | ending),
    }
    bounds = limits(np.array([per_major]), **{k: np.array([v]) for k, v in rules.items()})
    assume(bounds.feasible[0])
    low = draw(st.floats(1e-2, 1e9))
    high = low * np.exp(draw(st.floats(0.0, 6.0)))
    return rules, per_major, bounds, np.array([low]), np.array([high])


@settings(deadline=None, max_examples=400)
@given(worlds(), st.integers(1, 20))
def test_the_laws_of_a_ladder(world, arms):
    rules, per_major, bounds, low, high = world
    ladders = geometric_ladders(low, high, bounds, arms)
    prices, allowed = ladders.prices[0], ladders.allowed[0]
    assert ladders.prices.shape == ladders.allowed.shape == (1, arms)
    assert prices.dtype == np.int64
    assert allowed[0]
    assert (prices >= bounds.lower[0]).all()
    assert (prices <= bounds.upper[0]).all()
    assert (np.diff(prices) >= 0).all()
    assert (np.diff(prices[allowed]) > 0).all()
    # every price is there to be drawn once
    assert sorted(set(prices.tolist())) == prices[allowed].tolist()
    slack = 1e-6 + 1e-12 * prices
    if not np.isnan(rules["unit_cost"]):
        assert (prices >= rules["unit_cost"] * per_major - slack).all()
    if not np.isnan(rules["max_price"]):
        assert (prices <= rules["max_price"] * per_major + slack).all()
    if not np.isnan(rules["price_ending"]):
        assert (prices % per_major == round(rules["price_ending"] * per_major)).all()


def test_a_limit_that_cuts_what_is_opened_beside_another_is_named():
    def binding(**rules):
        bounds = limits(np.array([100]), **{k: np.array([v]) for k, v in rules.items()})
        named = geometric_ladders(np.array([200.0]), np.array([500.0]), bounds, 9).guardrails[0]
        return [name for name, binds in zip(GUARDRAILS, named, strict=True) if binds]

    assert binding(min_price=10.94, max_price=12.43) == ["min_price", "max_price"]
    assert binding(min_price=10.94, max_price=99.0) == ["min_price"]
    assert binding(min_price=1.5, max_price=1.6) == ["min_price", "max_price"]
    assert binding(min_price=0.5, max_price=1.6) == ["max_price"]
    assert binding(min_price=1.0, max_price=9.0) == []


@settings(deadline=None, max_examples=200)
@given(worlds(), st.integers(2, 20))
def test_there_is_a_choice_wherever_there_is_room(world, arms):
    _, _, bounds, low, high = world
    ladders = geometric_ladders(low, high, bounds, arms)
    room = int(bounds.upper[0] > bounds.lower[0])
    assert ladders.allowed.sum() >= 1 + room


@settings(deadline=None, max_examples=200)
@given(worlds())
def test_a_guardrail_is_named_only_where_it_changed_something(world):
    rules, per_major, bounds, low, high = world
    named = geometric_ladders(low, high, bounds, 12).guardrails[0]
    assert named.shape == (len(GUARDRAILS),)
    assert not named[GUARDRAILS.index("family")]  # families are no matter of one row
    ended = not np.isnan(rules["price_ending"]) and per_major > 1
    assert named[GUARDRAILS.index("price_ending")] == ended
    lifted = bounds.floors[0].max() > low[0]
    cut = bounds.ceilings[0].min() < high[0]
    others = np.delete(named, GUARDRAILS.index("price_ending"))
    assert others.any() == (lifted or cut)
    for i, name in enumerate(GUARDRAILS):
        if named[i] and name not in ("price_ending", "family"):
            # no other rule of its side asked for more
            lowest = bounds.floors[0, i] == bounds.floors[0].max() > 0
            assert lowest or bounds.ceilings[0, i] == bounds.ceilings[0].min()


@settings(deadline=None)
@given(
    low=st.floats(1e2, 1e7),
    width=st.floats(0.3, 4.0),
    below=st.floats(0.0, 2.0),
    above=st.floats(0.0, 2.0),
)
def test_limits_outside_the_wish_change_nothing_and_are_not_named(make, low, width, below, above):
    low = np.array([low])
    high = low * np.exp(width)
    wide = make.limits(
        1,
        100,
        min_price=np.floor(low * np.exp(-below)) / 100,
        max_price=np.ceil(high * np.exp(above)) / 100,
    )
    bound = geometric_ladders(low, high, wide, 12)
    free = geometric_ladders(low, high, make.limits(1, 100), 12)
    np.testing.assert_array_equal(bound.prices, free.prices)
    assert not bound.guardrails.any()


@pytest.mark.parametrize(
    ("rule", "named"),
    [
        ({}, []),
        ({"unit_cost": 5.0}, []),
        ({"unit_cost": 12.0}, ["cost_floor"]),
        ({"min_price": 12.0, "unit_cost": 11.0}, ["min_price"]),
        ({"minimum_advertised_price": 12.0}, ["minimum_advertised_price"]),
        ({"max_price": 15.0}, ["max_price"]),
        ({"max_price": 50.0}, []),
        ({"current_price": 14.0, "max_step": 0.1}, ["max_step"]),
        ({"current_price": 14.0, "max_step": 0.9}, []),
        ({"price_ending": 0.99}, ["price_ending"]),
        ({"min_price": 11.0, "max_price": 19.0}, ["min_price", "max_price"]),
    ],
)
def test_guardrails_by_name(make, rule, named):
    bounds = make.limits(1, 100, **rule)
    ladders = geometric_ladders(np.array([1000.0]), np.array([2000.0]), bounds, 8)
    assert [n for n, on in zip(GUARDRAILS, ladders.guardrails[0], strict=True) if on] == named


def test_arms_stand_in_equal_ratios(make):
    low, high = np.array([1e6, 2e6]), np.array([4e6, 2e7])
    prices = geometric_ladders(low, high, make.limits(2, 100), 9).prices
    np.testing.assert_allclose(prices[:, [0, -1]], np.stack([low, high], 1), atol=0.5)
    ratios = prices[:, 1:] / prices[:, :-1]
    expected = np.broadcast_to((high / low)[:, None] ** (1 / 8), ratios.shape)
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)


def test_a_wish_outside_the_limits_is_moved_inside_and_stays_a_choice(make):
    bounds = make.limits(2, 100, min_price=[50.0, np.nan], max_price=[np.nan, 2.0])
    ladders = geometric_ladders(np.full(2, 1000.0), np.full(2, 2000.0), bounds, 8)
    assert ladders.prices[0, 0] == 5000
    assert ladders.prices[1, -1] == 200
    assert (ladders.allowed.sum(1) == 8).all()


def test_few_allowed_prices_make_few_arms(make):
    bounds = make.limits(3, [1, 100, 100], min_price=[3, 10.0, 7.0], max_price=[5, 10.02, 7.0])
    ladders = geometric_ladders(np.full(3, 1.0), np.full(3, 1e4), bounds, 10)
    found = [p[a].tolist() for p, a in zip(ladders.prices, ladders.allowed, strict=True)]
    assert found == [[3, 4, 5], [1000, 1001, 1002], [700]]


def test_endings_far_apart_leave_a_choice(make):
    # 0.85 to 1.20 holds one price that ends in .99
    bounds = make.limits(2, 100, price_ending=0.99, max_price=[np.nan, 1.50])
    ladders = geometric_ladders(np.full(2, 85.0), np.full(2, 120.0), bounds, 6)
    found = [p[a].tolist() for p, a in zip(ladders.prices, ladders.allowed, strict=True)]
    assert found == [[99, 199], [99]]


def test_where_next_to_nothing_is_known_prices_rise_in_steps(make):
    """Nine sales in 137 looks at 2.00 promise most near 30, where nobody has bought yet."""
    policy, one = Policy(), np.ones(1)
    anchor = np.log(10.0 * one)
    policy.evidence.add(np.zeros(1, np.int64), anchor, 2 * one, 137 * one, 9 * one, 18 * one,
                        np.zeros(1, np.int64))  # fmt: skip
    highest = {}
    for guess_sd in (0.9, 1.5):
        listings = make.listings([10.0], guess_sd=guess_sd, listing=0)
        made = policy.decide(listings, make.random_ids(0, 1), explore=False)
        highest[guess_sd] = made.ladders.prices.max() / 100
    assert highest[0.9] > 25
    assert 9 < highest[1.5] < 10
    stranger = make.listings([10.0], guess_sd=1.5)
    made = policy.decide(stranger, make.random_ids(0, 1), explore=False)
    assert made.ladders.prices.max() > 1000


@settings(deadline=None, max_examples=300)
@given(worlds(), st.integers(2, 20), st.floats(1e-2, 1e9))
def test_the_highest_price_up_to_a_given_one_is_an_arm(world, arms, price):
    _, _, bounds, low, high = world
    plain = geometric_ladders(low, high, bounds, arms)
    found = with_arm_below(plain, bounds, np.array([price]))
    before, after = plain.prices[0], found.prices[0]
    assert (found.allowed == plain.allowed).all()
    assert (np.diff(after)[found.allowed[0, 1:]] > 0).all()
    assert (after >= bounds.lower[0]).all()
    assert (after <= bounds.upper[0]).all()
    assert ((after - bounds.lower[0]) % bounds.step[0] == 0).all()
    below = after[after <= price + 1e-6]
    step = bounds.step[0]
    within = before[0] <= price and price < before[-1] + step
    if within:
        assert price - below.max() < step  # no allowed price lies between
        assert len(set(before[after != before])) <= 1
    else:
        assert (after == before).all()


def test_a_given_price_is_an_arm_also_where_many_are_rounded_to_one():
    bounds = limits(np.array([100]), price_ending=np.array([0.99]))
    plain = geometric_ladders(np.array([399.0]), np.array([2399.0]), bounds, 20)
    assert not plain.allowed.all()
    assert not (plain.prices == 1299).any()
    found = with_arm_below(plain, bounds, np.array([1350.0]))
    assert (found.prices[found.allowed] == 1299).sum() == 1


def test_nothing_is_put_where_no_price_is_given():
    bounds = limits(np.array([100, 100]))
    plain = geometric_ladders(np.array([500.0] * 2), np.array([2000.0] * 2), bounds, 20)
    found = with_arm_below(plain, bounds, np.array([np.nan, 0.0]))
    np.testing.assert_array_equal(found.prices, plain.prices)
