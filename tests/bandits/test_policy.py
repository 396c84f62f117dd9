import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trained_policy import DAY, catalogue, estimated, outcomes_of, rows_of, trained

from bandits import DIM, GUARDRAILS, Policy, Rules, Stock, draw, uniforms

rules = pytest.mark.parametrize("rule", ["softmax", "inverse_gap", "thompson"])


# -- deciding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_a_decision_for_every_row(make, n):
    policy, listings = Policy(), catalogue(make, n)
    made = policy.decide(listings, make.random_ids(0, n))
    k = policy.rules.arms
    for table in (made.propensities, made.scores, made.ladders.prices, made.estimates.mean):
        assert table.shape == (n, k)
    assert made.price.shape == made.arm.shape == (n,)
    assert made.price.dtype == np.int64
    assert made.features.shape == (n, DIM)
    assert made.features.dtype == np.float32
    assert np.isfinite(made.features).all()
    assert made.ladders.guardrails.shape == (n, len(GUARDRAILS))
    np.testing.assert_allclose(made.propensities.sum(1), 1.0, rtol=0, atol=1e-12)
    assert made.ladders.allowed[np.arange(n), made.arm].all()


@rules
def test_a_decision_can_be_recomputed_from_its_id(make, rule):
    policy, listings = trained(make, rule=rule)
    ids = make.random_ids(5, 30)
    first, second = policy.decide(listings, ids), policy.decide(listings, ids)
    np.testing.assert_array_equal(first.propensities, second.propensities)
    np.testing.assert_array_equal(first.arm, second.arm)
    np.testing.assert_array_equal(draw(first.propensities, uniforms(ids)), first.arm)
    other = policy.decide(listings, make.random_ids(6, 30))
    assert (other.arm != first.arm).any()


@pytest.mark.statistical
@rules
def test_prices_are_drawn_as_often_as_their_propensities_say(make, rule):
    # 16 arms, two rules: 3.5 standard errors by chance for 1 seed in 65 (normal); the seed is
    # fixed. The rarest arms have 10 draws expected, so their bound is one of counts.
    n, repeats = 2000, 5
    policy, seen = trained(make, rule=rule, floor=0.05)
    one = make.listings(
        np.full(n, np.exp(seen.context.guess[3])), listing=3, unit_cost=seen.context.unit_cost[3]
    )
    counts = np.zeros(policy.rules.arms)
    for seed in range(repeats):
        made = policy.decide(one, make.random_ids(100 + seed, n))
        np.testing.assert_allclose(made.propensities, made.propensities[[0]].repeat(n, 0))
        counts += np.bincount(made.arm, minlength=policy.rules.arms)
    p = made.propensities[0]
    assert (p[made.ladders.allowed[0]] > 0).all()
    assert (counts[~made.ladders.allowed[0]] == 0).all()
    error = np.sqrt(p * (1 - p) * n * repeats)
    assert (np.abs(counts - p * n * repeats) <= 3.5 * error + 1).all()
    assert (counts > 0).sum() > 3


def test_a_row_does_not_depend_on_its_neighbours(make):
    policy, listings = trained(make)
    ids = make.random_ids(9, 30)
    together = policy.decide(listings, ids)
    for i in (0, 7, 29):
        text = listings.context.text[[i]]
        alone = make.listings(
            np.exp(listings.context.guess[[i]]),
            listing=i,
            unit_cost=listings.context.unit_cost[i],
            text=text,
        )
        made = policy.decide(alone, ids[[i]])
        np.testing.assert_array_equal(made.ladders.prices[0], together.ladders.prices[i])
        np.testing.assert_allclose(made.propensities[0], together.propensities[i], rtol=1e-3)


def test_without_exploration_the_best_estimate_is_taken(make):
    policy, listings = trained(make)
    made = policy.decide(listings, make.random_ids(1, 30), explore=False)
    again = policy.decide(listings, make.random_ids(2, 30), explore=False)
    np.testing.assert_array_equal(made.price, again.price)
    assert set(made.propensities.ravel().tolist()) == {0.0, 1.0}
    prices = made.ladders.prices / 100
    profit = (prices - listings.context.unit_cost[:, None]) * made.estimates.mean
    profit = np.where(made.ladders.allowed, profit, -np.inf)
    np.testing.assert_array_equal(made.arm, profit.argmax(1))


@pytest.mark.parametrize("optimism", [1.5, 0.0, -1.0])
def test_optimism_is_taken_on_demand_before_the_margin(make, optimism):
    policy, listings = trained(make, optimism=optimism)
    made = policy.decide(listings, make.random_ids(1, 30))
    margin = made.ladders.prices / 100 - listings.context.unit_cost[:, None]
    spread = np.sqrt(np.log1p((made.estimates.sd / made.estimates.mean) ** 2))
    expected = margin * made.estimates.mean * np.exp(optimism * spread)
    np.testing.assert_allclose(made.scores, expected, rtol=1e-12)


def test_a_seller_averse_to_risk_gets_prices_of_which_more_is_known(make):
    def risk(optimism):
        policy, listings = trained(make, n=60, optimism=optimism)
        made = policy.decide(listings, make.random_ids(1, 60))
        relative = made.estimates.sd / made.estimates.mean
        return (made.propensities * relative).sum(1).mean()

    averse, neutral, fond = (risk(optimism) for optimism in (-1.5, 0.0, 1.5))
    assert averse < neutral < fond


@pytest.mark.parametrize("rule", ["softmax", "thompson"])
def test_exploring_keeps_to_its_budget(make, rule):
    free, listings = trained(make, rule=rule, temperature=0.1, floor=0.1, budget=1.0)
    bound, _ = trained(make, rule=rule, temperature=0.1, floor=0.1, budget=0.01)
    leader = np.where(np.arange(30) < 5, 0, np.arange(30))
    listings = dataclasses.replace(listings, leader=leader)

    def cost(policy):
        made = policy.decide(listings, make.random_ids(2, 30))
        prices = made.ladders.prices / 100
        gain = (prices - listings.context.unit_cost[:, None]) * made.estimates.mean
        gain = np.array([gain[leader == of].sum(0) for of in leader])
        best = np.where(made.ladders.allowed, gain, -np.inf).max(1)
        assert (made.propensities[made.ladders.allowed] > 0).all()
        return 1 - (made.propensities * gain).sum(1) / best

    before = cost(free)
    bound.evidence, bound.head, bound.population = free.evidence, free.head, free.population
    after = cost(bound)
    assert before.max() > 0.01
    np.testing.assert_allclose(after, np.minimum(before, 0.01), atol=1e-9)


def test_thompson_gives_each_arm_the_probability_that_it_is_the_best(make):
    policy, listings = trained(make, rule="thompson", budget=1.0, floor=1e-9)
    # buyers come where the rival is dear: what the head knows of a market counts in a draw
    dear, cheap = (
        dataclasses.replace(
            listings,
            context=dataclasses.replace(listings.context, competitor_price=np.full(30, rival)),
        )
        for rival in (40.0, 4.0)
    )
    for turn in range(20):
        for market, sold in ((dear, 40), (cheap, 4)):
            made = policy.decide(market, make.random_ids(turn, 30))
            policy.learn(outcomes_of(market, made, np.full(30, 200), np.full(30, sold)))
    drawn = []
    for market in (dear, cheap):
        made = policy.decide(market, make.random_ids(0, 30))
        belief, bank = policy.posterior(market), policy.evidence.bank
        for row in (0, 11):
            price = made.ladders.prices[row] / 100
            relative = torch.as_tensor(np.log(price) - market.anchor[row])
            curves = bank.demand(relative).flatten(1).numpy()
            weight = belief.weight[row].flatten().numpy()
            level = (belief.shape * 0 + belief.level)[row].flatten().numpy()
            own = curves @ (weight * level)
            correction = made.estimates.mean[row] / own
            profit = (price - market.context.unit_cost[row])[:, None] * curves
            best = np.where(made.ladders.allowed[row][:, None], profit * correction[:, None],
                            -np.inf).argmax(0)  # fmt: skip
            expected = np.bincount(best, weight, policy.rules.arms)
            # interpolated curves may part two arms that are as good
            near = np.log(price) @ (made.propensities[row] - expected)
            assert abs(near) < 0.03
        drawn.append((made.propensities * np.log(made.ladders.prices)).sum(1).mean())
    assert abs(drawn[0] - drawn[1]) > 0.01


def test_where_stock_may_run_out_thompson_leaves_the_draw_to_the_plan(make):
    policy, listings = trained(make, rule="thompson", budget=1.0)
    leader = np.where(np.arange(30) < 2, 0, np.arange(30))  # one of two that share a price
    n = len(listings.listing)
    units = np.where(np.arange(n) < 11, 1.0, np.nan)
    units[1] = np.nan
    stock = Stock(units, np.full(n, 30), np.full(n, 1000.0), np.full(n, 5.0))
    listings = dataclasses.replace(listings, leader=leader)
    ids = make.random_ids(0, n)
    plain = policy.decide(listings, ids)
    made = policy.decide(dataclasses.replace(listings, stock=stock), ids)
    np.testing.assert_array_equal(made.propensities[11:], plain.propensities[11:])
    np.testing.assert_array_equal(made.propensities[0], made.propensities[1])
    mean = (made.propensities * made.ladders.prices).sum(1)[:11]
    scores = np.where(made.ladders.allowed, made.scores, -np.inf)[2:11]
    best = made.ladders.prices[np.arange(2, 11), scores.argmax(1)]
    np.testing.assert_allclose(mean[2:], best, rtol=0.1)
    assert (mean[2:] > (plain.propensities * plain.ladders.prices).sum(1)[2:11]).all()


def test_a_price_far_from_all_that_is_believed_has_a_propensity(make):
    """Demand there is so uncertain that what a look would move it by underflows."""
    listings = make.listings([10.0, 10.0, 10.0], guess_sd=1.5, min_price=[0.48, 0.5, np.nan],
                             max_price=[0.5, 0.5, np.nan])  # fmt: skip
    listings = dataclasses.replace(listings, impressions=np.full(3, 500.0))
    made = Policy().decide(listings, make.random_ids(0, 3))
    assert made.ladders.allowed.sum(1).tolist() == [3, 1, 20]
    np.testing.assert_allclose(made.propensities.sum(1), 1.0, rtol=1e-12)
    assert np.isfinite(made.scores[made.ladders.allowed]).all()


def test_without_exploration_thompson_takes_the_best_estimate(make):
    policy, listings = trained(make, rule="thompson")
    made = policy.decide(listings, make.random_ids(1, 30), explore=False)
    assert set(made.propensities.ravel().tolist()) == {0.0, 1.0}


def test_an_impression_of_a_single_unit_sells_no_more_than_one(make):
    listings = make.listings([10.0, 10.0, 5.0], guess_sd=1.5, max_price=[0.5, 0.5, np.nan])
    free = Policy().decide(listings, make.random_ids(0, 3), explore=False)
    single = np.array([True, False, True])
    assert (free.estimates.mean[:2].max(1) > 1.0).all()
    bounded = dataclasses.replace(listings, single=single)
    made = Policy().decide(bounded, make.random_ids(0, 3), explore=False)
    wanted = np.minimum(free.estimates.mean, np.where(single, 1.0, np.inf)[:, None])
    np.testing.assert_array_equal(made.estimates.mean, wanted)
    assert made.high[0] <= 1.0
    assert made.low[0] <= made.high[0]
    assert made.high[1] == free.high[1]


def test_nobody_to_price(make):
    for rule in ("softmax", "inverse_gap", "thompson"):
        made = Policy(Rules(rule=rule)).decide(catalogue(make, 0), make.random_ids(0, 0))
        assert made.propensities.shape == (0, 20)
        assert made.price.shape == (0,)


def test_without_a_cost_the_objective_is_revenue(make):
    policy = Policy()
    listings = make.listings([20.0])
    made = policy.decide(listings, make.random_ids(0, 1), explore=False)
    revenue = made.ladders.prices / 100 * made.estimates.mean
    np.testing.assert_allclose(made.scores, revenue, rtol=1e-12)
    assert made.arm[0] == revenue[0].argmax()


def test_features_are_those_of_the_arm_drawn(make):
    policy, listings = trained(make)
    made = policy.decide(listings, make.random_ids(3, 30))
    _, x = estimated(policy, listings, made.ladders.prices / 100)
    np.testing.assert_allclose(made.features, x.numpy()[np.arange(30), made.arm], rtol=1e-5)
    assert (made.features[:, 0] > 0).all()  # the own curve's estimate


# -- limits --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1), explore=st.booleans())
def test_no_price_ever_leaves_its_limits(make, data, seed, explore):
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(1, 8))
    spread = data.draw(st.sampled_from([0.3, 3.0, 9.0]))
    per_major = rng.choice([1, 100, 1000], n)
    guess = 10 * np.exp(spread * rng.standard_normal(n))

    def some(values):
        return np.where(rng.random(n) < 0.5, values, np.nan)

    cost = some(np.round(guess * rng.uniform(0.0, 3.0, n), 2))
    drawn = make.listings(
        guess,
        guess_sd=rng.uniform(0.01, 1.5, n),
        per_major=per_major,
        unit_cost=cost,
        min_price=some(guess * rng.uniform(0.2, 1.5, n)),
        max_price=some(guess * rng.uniform(0.8, 5.0, n)),
        current_price=some(guess * rng.uniform(0.5, 2.0, n)),
        max_step=some(rng.uniform(0.0, 0.5, n)),
        price_ending=some(rng.integers(0, 100, n) / 100),
        leader=np.minimum(np.arange(n), rng.integers(0, n, n)),
    )
    # families of the first row that each leads; members of one family share limits
    leader = drawn.leader[drawn.leader]
    leader = np.where(leader[leader] == leader, leader, np.arange(n))
    leader = np.where(per_major == per_major[leader], leader, np.arange(n))
    bounds = drawn.limits
    alike = (bounds.step == bounds.step[leader]) & (bounds.offset == bounds.offset[leader])
    leader = np.where(alike, leader, np.arange(n))
    bounds = make.shared(bounds, leader)
    if not bounds.feasible.all():
        leader, bounds = np.arange(n), drawn.limits
    if not bounds.feasible.all():
        return
    listings = dataclasses.replace(drawn, limits=bounds, leader=leader)
    made = Policy().decide(listings, make.random_ids(seed, n), explore)
    prices = made.ladders.prices
    assert (prices >= bounds.lower[:, None]).all()
    assert (prices <= bounds.upper[:, None]).all()
    assert ((prices - bounds.offset[:, None]) % bounds.step[:, None] == 0).all()
    known = ~np.isnan(cost)
    assert (made.price / per_major >= cost * (1 - 1e-12) - 1e-8)[known].all()
    assert made.ladders.allowed[np.arange(n), made.arm].all()
    assert (made.price == made.price[leader]).all()
    np.testing.assert_allclose(made.propensities.sum(1), 1.0, rtol=0, atol=1e-12)
    assert np.isfinite(made.estimates.mean).all()
    assert np.isfinite(made.estimates.sd).all()
    assert np.isfinite(made.features).all()


def test_a_cost_above_what_buyers_pay_is_never_undercut(make):
    listings = make.listings([10.0, 10.0], unit_cost=[40.0, 0.5], guess_sd=0.1)
    made = Policy().decide(listings, make.random_ids(0, 2))
    assert (made.ladders.prices[0] >= 4000).all()
    assert made.ladders.allowed[0].sum() > 3
    cost_floor = made.ladders.guardrails[:, GUARDRAILS.index("cost_floor")]
    assert cost_floor.tolist() == [True, False]


def test_the_cost_floor_is_named_alike_for_every_cost(make):
    # whether 1.1 times the cost is near enough may not hang on how a float rounds
    cost = np.arange(5, 200) * 1.0
    listings = make.listings(1.1 * cost, unit_cost=cost, guess_sd=0.1)
    made = Policy().decide(listings, make.random_ids(0, len(cost)))
    named = made.ladders.guardrails[:, GUARDRAILS.index("cost_floor")]
    assert named.all()


@pytest.mark.filterwarnings("error")
def test_a_free_article_is_priced_without_a_warning(make):
    made = Policy().decide(make.listings([10.0], unit_cost=0.0), make.random_ids(0, 1))
    assert made.price[0] > 0


# -- families ------------------------------------------------------------------------------------


@rules
def test_a_family_shares_one_price_and_one_propensity(make, rule):
    policy, seen = trained(make, rule=rule)
    leader = np.array([0, 0, 2, 0, 4, 2])
    guess = np.exp(seen.context.guess[:6])
    listings = make.listings(guess, listing=np.arange(6), unit_cost=4.0, leader=leader)
    for seed in range(20):
        made = policy.decide(listings, make.random_ids(seed, 6))
        np.testing.assert_array_equal(made.price, made.price[leader])
        np.testing.assert_array_equal(made.propensities, made.propensities[leader])
        np.testing.assert_array_equal(made.ladders.prices, made.ladders.prices[leader])
    family = made.ladders.guardrails[:, GUARDRAILS.index("family")]
    assert family.tolist() == [True, True, True, True, False, True]
    assert (made.estimates.mean[1] != made.estimates.mean[0]).any()


def test_a_family_takes_what_is_best_for_all_its_members(make):
    policy, _ = trained(make)
    leader = np.array([0, 0, 0])
    listings = make.listings([10.0, 14.0, 20.0], unit_cost=[3.0, 4.0, 5.0], leader=leader)
    made = policy.decide(listings, make.random_ids(0, 3), explore=False)
    allowed = made.ladders.allowed[0]
    together = np.where(allowed, made.scores.sum(0), -np.inf)
    assert made.arm.tolist() == [together.argmax()] * 3


@pytest.mark.parametrize("rule", ["softmax", "thompson"])
def test_a_member_counts_once_in_its_family_however_often_it_is_asked_about(make, rule):
    guess, cost, ids = [10.0, 25.0], [3.0, 9.0], make.random_ids(1, 5)

    def decided(asked):
        rows = np.array(asked)
        listings = make.listings(
            np.array(guess)[rows],
            listing=rows,
            unit_cost=np.array(cost)[rows],
            leader=np.zeros(len(rows), np.int64),
        )
        return Policy(Rules(rule=rule)).decide(listings, ids[: len(rows)])

    once, often = decided([0, 1]), decided([0, 0, 1, 0, 0])
    np.testing.assert_array_equal(often.ladders.prices[0], once.ladders.prices[0])
    np.testing.assert_allclose(often.propensities[0], once.propensities[0], rtol=1e-4)


@pytest.mark.parametrize(
    "looks", [[1000.0, 10.0], [10.0, 1000.0], [50.0, 0.0], [0.0, 50.0], [np.nan, 50.0], None]
)
def test_members_of_a_family_count_by_how_many_look_at_them(make, looks):
    rows = np.arange(2)
    leader = np.zeros(2, np.int64)
    listings = make.listings([10.0, 40.0], listing=rows, unit_cost=[1.0, 1.0], leader=leader)
    if looks is not None:
        listings = dataclasses.replace(listings, impressions=np.array(looks))
    made = Policy().decide(listings, make.random_ids(1, 2), explore=False)
    weight = np.ones(2) if looks is None else np.nan_to_num(looks, nan=50.0)
    total = (weight[:, None] * made.expected).sum(0)
    assert made.arm[0] == made.arm[1] == np.where(made.ladders.allowed[0], total, -np.inf).argmax()
    np.testing.assert_allclose(made.weight, weight / weight.mean())


@pytest.mark.parametrize("looks", [[0.0, 0.0], [0.0, np.nan], [np.nan, np.nan]])
def test_members_of_a_family_that_nobody_looks_at_count_alike(make, looks):
    leader = np.zeros(2, np.int64)
    listings = make.listings([10.0, 40.0], listing=np.arange(2), unit_cost=1.0, leader=leader)
    listings = dataclasses.replace(listings, impressions=np.array(looks))
    made = Policy().decide(listings, make.random_ids(1, 2), explore=False)
    np.testing.assert_array_equal(made.weight, [1.0, 1.0])


def test_a_family_of_one_decides_as_if_alone(make):
    policy, seen = trained(make)
    ids = make.random_ids(0, 30)
    alone = policy.decide(seen, ids)
    leader = np.arange(30)
    leader[1] = 0
    made = policy.decide(dataclasses.replace(seen, leader=leader), ids)
    np.testing.assert_array_equal(made.price[2:], alone.price[2:])
    np.testing.assert_array_equal(made.propensities[2:], alone.propensities[2:])


class Buyers:
    """Exponential demand k exp(-2 (p / value - 1)), with values that no policy sees."""

    def __init__(self, n, seed, off):
        self.rng = np.random.default_rng(seed)
        self.guess = self.rng.uniform(8, 60, n)
        self.value = self.guess * np.exp(off + 0.35 * self.rng.standard_normal(n))
        self.cost = 0.4 * self.guess
        self.best = self.cost + self.value / 2
        self.level = 0.05

    def demand(self, price):
        return self.level * np.exp(-2 * (price / self.value - 1))

    def share(self, price):
        """Expected profit of these prices against the best there is."""
        ideal = ((self.best - self.cost) * self.demand(self.best)).sum()
        return ((price - self.cost) * self.demand(price)).sum() / ideal


def play(make, off=0.0, n=80, days=30, seed=0, shown=300):
    """Share of the clairvoyant's profit on each day, how far below or above the best prices the
    best guess was before and after (mean log ratios), and the policy."""
    buyers, policy = Buyers(n, seed, off), Policy()
    listings = make.listings(buyers.guess, listing=np.arange(n), unit_cost=buyers.cost)
    context = listings.context

    def distance():
        made = policy.decide(listings, make.random_ids(0, n), explore=False)
        return np.log(made.price / 100 / buyers.best).mean()

    shares, before = [], distance()
    for day in range(days):
        now = dataclasses.replace(
            listings, context=dataclasses.replace(context, at=np.full(n, day * DAY))
        )
        made = policy.decide(now, make.random_ids(seed * 1000 + day, n))
        shares.append(buyers.share(made.price / 100))
        impressions = buyers.rng.poisson(shown, n)
        units = buyers.rng.poisson(impressions * buyers.demand(made.price / 100))
        policy.learn(outcomes_of(now, made, impressions, units, day * DAY))
        if day % 5 == 0:
            policy.learn_population(*rows_of(listings, policy.consulted()))
    return np.array(shares), (before, distance()), policy


@pytest.mark.statistical
def test_thirty_days_come_near_the_clairvoyant(make):
    # 80 listings at 300 impressions a day, seeded; in 8 seeds of 8 the share rises from
    # 0.93-0.95 to 0.96-0.98, by 0.018 at least
    shares = np.mean([play(make, seed=seed)[0] for seed in range(3)], axis=0)
    assert shares[-5:].mean() > 0.95
    assert shares[-5:].mean() > shares[0] + 0.02


@pytest.mark.statistical
@pytest.mark.parametrize("off", [-0.4, 0.8])
def test_prices_move_towards_what_buyers_value(make, off):
    # all guesses are 1.5 times too high, or 2.2 times too low; 40 listings, seeded; prices move
    # by 0.13 log units or more, towards the best, in 12 seeds of 12
    shares, (before, after), policy = play(make, off, n=40, days=25)
    assert np.sign(before) == -np.sign(off)
    assert (after - before) * np.sign(off) > 0.1
    assert abs(after) < abs(before)
    assert shares[-3:].mean() > shares[0]
    assert np.sign(float(policy.population.shift)) == np.sign(off)


def test_a_wall_at_the_competitors_price_is_learned_from_all(make):
    # at all prices, so that there is something to learn above the wall
    policy, rng = Policy(Rules(temperature=3.0, budget=1.0)), np.random.default_rng(3)
    n, rival = 60, 9.5

    def asked(rows, competitor):
        known = {"unit_cost": np.full(len(rows), 5.0), "listing": rows}
        listings = make.listings(np.full(len(rows), 10.0), **known)
        told = np.full(len(rows), competitor)
        context = dataclasses.replace(listings.context, competitor_price=told)
        return dataclasses.replace(listings, context=context)

    for turn in range(12):
        # a competitor who moves tells apart what is his from what is the price's
        competitor = rival * np.exp(0.1 * (turn % 3 - 1))
        listings = asked(np.arange(n), competitor)
        made = policy.decide(listings, make.random_ids(turn, n))
        price = made.price / 100
        demand = 0.1 * (price / 10) ** -2.0 * np.where(price > competitor, 0.1, 1.0)
        sold = rng.binomial(300, np.minimum(demand, 1.0))
        policy.learn(outcomes_of(listings, made, np.full(n, 300), sold))
    strangers = asked(np.full(5, -1), rival)
    made = policy.decide(strangers, make.random_ids(99, 5), explore=False)
    ladder = made.ladders.prices[0] / 100
    assert rival in ladder
    at = int(np.flatnonzero(ladder == rival)[0])
    units = made.estimates.mean[0]
    assert units[at + 1] < 0.5 * units[at]
    assert (made.price <= 100 * rival).all()
    alone = policy.decide(asked(np.full(5, -1), np.nan), make.random_ids(99, 5), explore=False)
    assert (alone.estimates.mean[:, -5:] > 0).all()
    assert (alone.price > 100 * rival).all()


@pytest.mark.parametrize("told", [[np.nan, 9.37], [9.37, np.nan], [9.81, 9.37], [9.37, 9.81]])
def test_the_lowest_competitor_of_a_family_is_an_arm_whoever_names_him(make, told):
    context = {"competitor_price": np.array(told)}
    made = Policy().decide(
        make.listings(np.full(2, 10.0), leader=[0, 0], context=context),
        make.random_ids(0, 2),
        explore=False,
    )
    assert (made.ladders.prices == 937).any(1).all()
    np.testing.assert_array_equal(*made.ladders.prices)
