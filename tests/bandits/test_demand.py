import dataclasses

import numpy as np
import pytest
import torch
from trained_policy import DAY, catalogue, estimated, outcomes_of, rows_of, told, trained

from bandits import Outcomes, Policy, Rules
from bandits.features import PASSING
from bandits.intervals import demand_intervals
from bandits.telling import SUREST, told_of_all


def test_before_any_evidence_the_head_corrects_nothing(make):
    policy, listings = Policy(), catalogue(make, 5)
    belief = policy.posterior(listings)
    prices = np.exp(listings.anchor)[:, None] * np.linspace(0.5, 2, 7)
    estimates, x = estimated(policy, listings, prices)
    np.testing.assert_allclose(estimates.mean, x[..., 0].numpy(), rtol=1e-5)
    demand = policy.evidence.bank.demand
    for row in range(5):
        z = torch.as_tensor(np.log(prices[row]) - listings.anchor[row])
        exact = (demand(z) * (belief.weight * belief.level)[row]).sum((1, 2))
        np.testing.assert_allclose(estimates.mean[row], exact.numpy(), rtol=0.01)


def test_estimates_fall_with_the_price_before_any_evidence(make):
    policy, listings = Policy(), catalogue(make, 5)
    prices = np.exp(listings.anchor)[:, None] * np.linspace(0.3, 3, 30)
    estimates, _ = estimated(policy, listings, prices)
    assert (np.diff(estimates.mean, axis=1) < 0).all()
    assert (estimates.sd > 0).all()


@pytest.mark.parametrize("train", [False, True])
def test_contributions_add_up_to_the_estimate(make, train):
    policy, listings = trained(make) if train else (Policy(), catalogue(make, 30))
    context = listings.context
    uninformed = dataclasses.replace(
        context,
        text=np.zeros_like(context.text),
        market_text=np.zeros_like(context.market_text),
        guess=np.full(30, np.log(20.0)),
        guess_sd=np.full(30, 0.9),
        unit_cost=np.full(30, np.nan),
    )
    prices = np.exp(listings.anchor)[:, None] * np.linspace(0.6, 1.6, 5)
    parts = policy.contributions(listings, uninformed, prices)
    assert list(parts) == ["price", "text", "market", "own_sales"]
    estimates, _ = estimated(policy, listings, prices)
    np.testing.assert_allclose(sum(parts.values()), estimates.mean, rtol=1e-6, atol=1e-12)
    assert np.abs(parts["text"]).max() > 0
    # without sales of its own, nothing is put down to them
    assert (np.abs(parts["own_sales"]).max() > 0) == train
    assert (np.abs(parts["market"]).max() > 1e-9) == train


# -- learning ------------------------------------------------------------------------------------


def test_one_misjudged_listing_does_not_mislead_about_all_others(make):
    # guessed at 10 and worth 80: hundreds of sales where the curve expected next to none
    guess = np.full(12, 10.0)
    policy = Policy()
    floor = np.where(np.arange(12) == 0, 40.0, np.nan)
    listings = make.listings(guess, listing=np.arange(12), min_price=floor)
    fresh = make.listings(np.array([10.0]), listing=np.array([-1]))
    prices = np.array([[6.0, 9.0, 12.0, 15.0, 20.0]])
    before = estimated(policy, fresh, prices)[0].mean
    made = policy.decide(listings, make.random_ids(0, 12))
    units = np.where(np.arange(12) == 0, 500, np.rint(1000 * 0.03))
    policy.learn(outcomes_of(listings, made, np.full(12, 1000), units))
    after = estimated(policy, fresh, prices)[0].mean
    assert (np.abs(np.log(after / before)) < 0.25).all()


def test_nothing_learned_from_nothing(make):
    policy, listings = Policy(), catalogue(make, 3)
    made = policy.decide(listings, make.random_ids(0, 3))
    full = outcomes_of(listings, made, np.full(3, 10), np.ones(3))
    fields = [f.name for f in dataclasses.fields(Outcomes)]
    policy.learn(Outcomes(**{name: getattr(full, name)[:0] for name in fields}))
    assert len(policy.evidence) == 0
    assert not policy.head.gram.any()
    assert policy.consulted().tolist() == []


def test_learning_does_not_depend_on_order_or_batches(make):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    rng = np.random.default_rng(2)
    full = outcomes_of(listings, made, rng.integers(1, 200, 30), rng.integers(0, 9, 30))
    fields = [f.name for f in dataclasses.fields(Outcomes)]

    def fold(parts):
        policy = Policy(Rules(half_life_days=10))
        for rows in parts:
            policy.learn(Outcomes(**{name: getattr(full, name)[rows] for name in fields}))
        return policy

    at_once = fold([np.arange(30)])
    in_parts = fold(np.array_split(rng.permutation(30), 7))
    np.testing.assert_allclose(in_parts.head.gram, at_once.head.gram, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(in_parts.head.moment, at_once.head.moment, rtol=1e-9, atol=1e-9)
    for ours, theirs in zip(
        in_parts.evidence.gather(np.arange(30)),
        at_once.evidence.gather(np.arange(30)),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("later", [0, 3])
def test_units_without_impressions_teach_nothing_until_impressions_come(make, later):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    rng = np.random.default_rng(3)
    nobody, sold, shown = np.zeros(30), rng.integers(1, 9, 30), rng.integers(20, 200, 30)
    policy, nothing = Policy(), np.zeros((30, 4))
    policy.learn(outcomes_of(listings, made, nobody, sold), nothing)
    assert not policy.evidence.sums.any()
    assert policy.evidence.totals[:30, 0].tolist() == sold.tolist()
    policy.learn(outcomes_of(listings, made, shown, later + nobody), told(nobody, sold))
    at_once = Policy()
    at_once.learn(outcomes_of(listings, made, shown, sold + later))
    for ours, theirs in zip(
        policy.evidence.gather(np.arange(30)), at_once.evidence.gather(np.arange(30)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
    # corrected to nobody: nothing is told again
    back = outcomes_of(listings, made, -shown, nobody)
    policy.learn(back, told(shown, sold + later))
    np.testing.assert_allclose(policy.evidence.sums, 0.0, atol=1e-9)


def test_impressions_of_unlike_days_that_were_taken_back_leave_nobody(make):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    policy, before, nobody = Policy(), np.zeros((30, 4)), np.zeros(30)
    for shown, day in ((3, 1.1), (7, 1.3), (-7, 1.3), (-3, 1.1)):
        part = outcomes_of(listings, made, np.full(30, shown), nobody + 5 * (shown > 0))
        policy.learn(dataclasses.replace(part, day=np.full(30, day)), before.copy())
        before[:, :3] += np.stack([part.impressions, part.units, day * part.impressions], axis=1)
    assert (before[:, :3] == (0, 10, 3 * 1.1 + 7 * 1.3 - 7 * 1.3 - 3 * 1.1)).all()
    assert before[0, 2] > 0  # what sums of broken numbers leave
    np.testing.assert_allclose(policy.evidence.sums, 0.0, atol=1e-9)


@pytest.mark.parametrize("half_life", [None, 10])
def test_a_decision_told_in_parts_teaches_the_head_what_it_teaches_told_at_once(make, half_life):
    source, listings = trained(make, learn_population=False)
    made = source.decide(listings, make.random_ids(1, 30))
    rng = np.random.default_rng(2)
    parts = [(rng.integers(0, 20, 30), rng.integers(-1, 4, 30)) for _ in range(10)]
    parts.append((np.zeros(30), -rng.integers(0, 3, 30)))  # returns, told by themselves
    in_parts, before = Policy(Rules(half_life_days=half_life)), np.zeros((30, 4))
    for shown, sold in parts:
        in_parts.learn(outcomes_of(listings, made, shown, sold), before.copy())
        before += told(shown, sold)
    at_once = Policy(Rules(half_life_days=half_life))
    at_once.learn(outcomes_of(listings, made, *before.T[:2]))
    assert at_once.head.gram.abs().max() > 1
    np.testing.assert_allclose(in_parts.head.gram, at_once.head.gram, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(in_parts.head.moment, at_once.head.moment, rtol=1e-9, atol=1e-9)


def test_outcomes_without_impressions_teach_the_head_nothing(make):
    policy, listings = Policy(), catalogue(make, 3)
    made = policy.decide(listings, make.random_ids(0, 3))
    policy.learn(outcomes_of(listings, made, [0, 0, 50], [0, 1, 2]))
    alone = Policy()
    alone.learn(dataclasses.replace(outcomes_of(listings, made, [1, 1, 50], [0, 0, 2])))
    assert np.isfinite(policy.head.gram.numpy()).all()
    assert np.isfinite(policy.head.moment.numpy()).all()
    assert policy.head.moment[0, 0].item() == pytest.approx(alone.head.moment[0, 0].item())
    assert np.isfinite(policy.decide(listings, make.random_ids(0, 3)).estimates.mean).all()


@pytest.mark.parametrize(("impressions", "units"), [(1.0, 0.0), (1e9, 1e9), (1e12, 0.0), (5, -5.0)])
def test_extreme_outcomes_leave_numbers(make, impressions, units):
    listings = make.listings([1e-2, 1.0, 1e9], listing=np.arange(3))
    policy = Policy()
    for seed in range(3):
        made = policy.decide(listings, make.random_ids(seed, 3))
        policy.learn(outcomes_of(listings, made, np.full(3, impressions), np.full(3, units)))
    policy.learn_population(*rows_of(listings, policy.consulted()))
    policy.worth_lesson(*rows_of(listings, np.arange(3)))()
    made = policy.decide(listings, make.random_ids(9, 3))
    for table in (made.estimates.mean, made.estimates.sd, made.propensities, made.features):
        assert np.isfinite(table).all()
    assert (made.estimates.mean > 0).all()
    assert (made.price >= 1).all()


def test_the_consulted_are_few_sorted_and_have_evidence(make):
    from bandits.demand import CONSULTED

    policy = Policy()
    n = 2 * CONSULTED + 7
    listing = np.random.default_rng(0).permutation(n) * 2
    ones = np.ones(n)
    policy.evidence.add(listing, 0 * ones, ones, ones, 0 * ones, 0 * ones, np.zeros(n))
    rows = policy.consulted()
    assert CONSULTED / 2 < len(rows) <= CONSULTED
    assert (np.diff(rows) > 0).all()
    assert np.isin(rows, listing).all()


def test_sales_that_no_curve_reaches_teach_nothing_about_others():
    policy = Policy()
    listing, ones = np.arange(4), np.ones(4)
    price, units = np.array([1.0, 20.0, 21.0, 0.04]), np.array([3.0, 3.0, 3.0, 0.0])
    policy.evidence.add(listing, 0 * ones, price, 9 * ones, units, units, np.zeros(4))
    assert policy.consulted().tolist() == [0, 1, 3]  # e³ is 20.09; of the last nothing was sold


@pytest.mark.parametrize("slip", [1e4, 1e12])
def test_sales_that_nobody_else_comes_near_teach_nothing_about_others(slip):
    policy, n = Policy(), 100
    ones, units = np.ones(n), np.tile([0.0, 1.0, 4.0, 30.0], n // 4)
    units[7], units[8] = slip, 5.0
    impressions = 200 * ones
    impressions[8] = 1.0  # a few units at once are nothing odd
    impressions[9], units[9] = 0.0, 900.0  # nobody counted its visitors
    policy.evidence.add(np.arange(n), 0 * ones, ones, impressions, units, units, np.zeros(n))
    assert policy.consulted().tolist() == [i for i in range(n) if i != 7]


def test_returns_beyond_what_was_sold_do_not_mislead_about_all_others(make):
    policy, listings = Policy(), make.listings(np.full(12, 10.0), listing=np.arange(12))
    fresh = make.listings(np.array([10.0]), listing=np.array([-1]))
    prices = np.array([[6.0, 9.0, 12.0, 15.0, 20.0]])
    before = estimated(policy, fresh, prices)[0].mean
    made = policy.decide(listings, make.random_ids(0, 12))
    net = np.where(np.arange(12) == 0, -5000, np.rint(1000 * 0.03))
    policy.learn(outcomes_of(listings, made, np.full(12, 1000), net))
    after = estimated(policy, fresh, prices)[0].mean
    assert (np.abs(np.log(after / before)) < 0.25).all()


def _priced_under_a_typo(make, typo):
    """A shop of 12 whose first listing is told wrong, priced meanwhile, and put right again.

    Returns:
        What is expected of a new listing, relative to the same shop without the typo.
    """
    listings = make.listings(np.full(12, 10.0), listing=np.arange(12))
    fresh = make.listings(np.array([10.0]), listing=np.array([-1]))
    found = []
    for slip in (None, typo):
        policy = Policy()
        for day in range(4):
            made = policy.decide(listings, make.random_ids(day, 12))
            shown, sold = np.full((2, 12), [[1000.0], [30.0]])
            if day == 1 and slip:
                first = np.arange(12) == 0
                now = np.stack(
                    [np.where(first, b, a) for a, b in zip((shown, sold), slip, strict=True)]
                )
                policy.learn(outcomes_of(listings, made, *now))
                meanwhile = policy.decide(listings, make.random_ids(9, 12))
                back = np.stack([shown, sold]) - now
                policy.learn(outcomes_of(listings, made, *back), told(*now))
                policy.learn(outcomes_of(listings, meanwhile, shown * first, sold * first))
            else:
                policy.learn(outcomes_of(listings, made, shown, sold))
        found.append(estimated(policy, fresh, np.array([[9.0]]))[0].mean.item())
    return found[1] / found[0]


@pytest.mark.parametrize("typo", [(0.0, 10_000.0), (1.0, 1_000.0)])
def test_too_high_a_curve_of_one_listing_does_not_mislead_about_all_others(make, typo):
    assert _priced_under_a_typo(make, typo) == pytest.approx(1.0, abs=0.02)


def test_no_decision_weighs_more_than_a_share_of_the_prior(make):
    policy, listings = Policy(), make.listings(np.full(1, 10.0), listing=np.arange(1))
    made = policy.decide(listings, make.random_ids(0, 1))
    for shown, sold in ((1e12, 1e10), (1.0, 1e10), (1e10, 1e10), (1.0, 1e10), (1e12, 0.0)):
        before = policy.head.gram[0, 0, 0].item()
        policy.learn(outcomes_of(listings, made, [shown], [sold]))
        assert 0 < policy.head.gram[0, 0, 0].item() - before <= 1 / SUREST**2 + 1e-9
        made = policy.decide(listings, make.random_ids(1, 1))
        assert np.isfinite(made.estimates.mean).all()


@pytest.mark.parametrize("too_high", [1.0, 3.0, 15.0])
def test_what_a_correction_can_explain_is_learned_with_its_full_weight(too_high):
    curve, shown = torch.tensor([0.03 * too_high]).double(), torch.tensor([1000.0]).double()
    rate, variance = told_of_all(curve, 0.3 * curve, shown, torch.tensor([30.0]).double())
    assert rate.item() == pytest.approx(0.03)
    assert variance.item() == pytest.approx((curve / shown + (0.3 * curve) ** 2).item())


def test_an_interval_counts_the_doubt_of_curves_once(make):
    policy, listings = trained(make)
    made = policy.decide(listings, make.random_ids(5, len(listings.listing)))
    found, corrected = made.estimates.take(made.arm), made.features[:, 0]
    own = found.curve_sd * found.mean / corrected
    assert np.abs(np.log(found.mean / corrected)).max() > 0.05  # the head has something to say
    np.testing.assert_allclose(found.sd**2, own**2 + found.width**2, rtol=1e-3)
    belief = policy.posterior(listings)
    price = made.price / listings.per_major
    none = dataclasses.replace(found, width=np.zeros_like(found.width))
    for a, b in zip(
        policy.interval(listings, belief, price, none),
        demand_intervals(
            policy.evidence.bank, belief, np.log(price) - listings.anchor, found.mean,
            np.zeros_like(found.mean),
        ),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(a, b)
    huge = dataclasses.replace(found, mean=found.mean * 1e-12)
    assert np.isfinite(policy.interval(listings, belief, price, huge)).all()


def test_worth_is_the_guess_until_sales_say_otherwise(make):
    policy, listings = trained(make)
    unknown = dataclasses.replace(listings, listing=np.where(np.arange(30) % 2, -1, 500))
    _, anchor, context = rows_of(unknown, np.arange(30))
    # the guess is no price that others may be guessed from
    assert np.isnan(policy.worth_lesson(unknown.listing, anchor, context)()).all()
    unsure = dataclasses.replace(context, guess_sd=np.full(30, 1.0))
    sold = policy.worth_lesson(listings.listing, anchor, unsure)()
    assert (~np.isnan(sold)).any()
    assert np.nanmax(np.abs(sold - context.guess)) > 0.02


def test_promotions_that_come_with_lower_prices_are_not_the_buyers_answer_to_price(make):
    n, shown = 100, np.full(100, 150.0)
    rng = np.random.default_rng(3)
    guess = rng.uniform(5, 80, n)

    def best_at_the_end(strength):
        """Prices over the guess of days without promotion, after 20 days of three in ten on it."""
        policy, draws = Policy(), np.random.default_rng(4)
        for day in range(21):
            on = (day + np.arange(n)) % 10 < 3 if day < 20 else np.zeros(n, bool)
            listings = make.listings(
                guess,
                guess_sd=0.1,
                listing=np.arange(n),
                unit_cost=guess / 2,
                max_price=np.where(on, 0.75 * guess, np.nan),
                context={"promotion": on.astype(float)},
            )
            if day == 20:
                made = policy.decide(listings, make.random_ids(day, n), explore=False)
                return np.log(made.price / 100 / guess)
            made = policy.decide(listings, make.random_ids(day, n))
            relative = made.price / 100 / guess
            rate = 0.04 * np.exp(-2 * (relative - 1)) * np.where(on, strength, 1.0)
            units = draws.poisson(shown * rate)
            policy.learn(outcomes_of(listings, made, shown, units, day * DAY))
            if day < 3 or day % 4 == 0:
                policy.learn_population(*rows_of(listings, policy.consulted()))

    plain, promoted = best_at_the_end(1.0), best_at_the_end(2.5)
    # as high as the promotions' limit allows is all that those who take it for that charge
    assert np.median(promoted) > np.median(plain) - 0.17 > np.log(0.75) + 0.05


def test_an_outcome_tells_what_it_tells_on_a_usual_day(make):
    policy, listings = Policy(), catalogue(make, 3)
    made = policy.decide(listings, make.random_ids(0, 3))
    one = outcomes_of(listings, made, np.full(3, 100), np.full(3, 8))
    policy.learn(dataclasses.replace(one, passing=np.array([1.0, 2.0, 0.5])))
    sums, totals = policy.evidence.gather(np.arange(3))
    usual = Policy()
    usual.learn_curves(dataclasses.replace(one, impressions=np.array([100.0, 200.0, 50.0])))
    torch.testing.assert_close(sums, usual.evidence.gather(np.arange(3))[0])
    assert totals[:, 1].tolist() == [100.0] * 3


def test_what_passes_is_expected_over_what_does_not(make):
    policy, _ = trained(make)
    policy.head.moment[0, PASSING] += 5.0  # as if it had been learned
    policy.head._forget_solution()
    plain = catalogue(make, 30)
    on = dataclasses.replace(plain.context, promotion=np.ones(30))
    listings = dataclasses.replace(plain, context=on)
    prices = np.exp(listings.anchor)[:, None]
    estimates, x = estimated(policy, listings, prices)
    seen = x[:, 0].clone()
    seen[:, PASSING] = 0.0
    usual = policy.corrected(seen)[0].numpy()
    passing = policy.passing(x[:, 0])
    np.testing.assert_allclose(passing, estimates.mean[:, 0] / usual, rtol=1e-4)
    assert (np.abs(np.log(passing)) > 1e-3).any()
