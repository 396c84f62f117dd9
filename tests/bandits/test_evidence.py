import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_sales import add, known_of, posterior_of, prior_of, squared, t

from bandits import Evidence, Population
from bandits.curves import DEFAULT_BANK as BANK
from bandits.evidence import DAY_US, RECENT_DAYS, SPREAD
from bandits.population import prior

# -- statistics add ------------------------------------------------------------------------------


def assert_alike(ours, theirs):
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


@st.composite
def histories(draw):
    """Sales of a few listings, with repeats, returns and unknown impressions, in some order.

    Times are in no order either."""
    m = draw(st.integers(1, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sales = {
        "listing": rng.integers(0, 6, m) * draw(st.sampled_from([1, 50])),
        "price": rng.uniform(1.0, 50.0, m),
        "impressions": rng.integers(0, 500, m).astype(float),
        "units": rng.integers(-3, 20, m).astype(float),
        "at": rng.integers(0, 40 * DAY_US, m),
    }
    order = np.array(draw(st.permutations(range(m))))
    cuts = sorted(draw(st.lists(st.integers(0, m), max_size=4)))
    return sales, np.split(order, cuts)


def fold(sales, parts, half_life=None):
    evidence = Evidence(half_life=half_life)
    for part in parts:
        rows = {name: column[part] for name, column in sales.items()}
        add(evidence, anchor=np.log(5.0 + rows["listing"]), **rows)
    return evidence


@settings(deadline=None, max_examples=60)
@given(histories(), st.sampled_from([None, 10 * DAY_US, DAY_US]))
def test_statistics_depend_neither_on_order_nor_on_batches(history, half_life):
    sales, parts = history
    at_once = fold(sales, [np.arange(len(sales["price"]))], half_life)
    in_parts = fold(sales, parts, half_life)
    listings = np.unique(sales["listing"])
    assert len(in_parts) == len(at_once) == len(listings)
    assert np.array_equal(np.sort(in_parts.listing), listings)
    assert_alike(in_parts.gather(listings), at_once.gather(listings))
    ours, theirs = posterior_of(in_parts, listings), posterior_of(at_once, listings)
    torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(ours.level, theirs.level, rtol=1e-7, atol=1e-9)


def test_repeats_in_one_batch_all_count():
    evidence = Evidence()
    add(evidence, [3, 3, 3, 1], np.log(10.0), [9.0, 9.0, 11.0, 5.0], [10, 20, 30, 7], [1, 2, 0, 4])
    sums, totals = evidence.gather(np.array([3, 1]))
    assert totals[0].tolist() == [3.0, 60.0, 27.0, 27.0]
    assert totals[1].tolist() == [4.0, 7.0, 20.0, 20.0]
    expected = 3.0 * BANK.powers(t(np.log(0.9)))[0]
    for kept in sums[0]:
        torch.testing.assert_close(kept[BANK.size : -SPREAD], expected)
        assert kept[-1] == 3.0
    usual = np.array([0.9, 0.9, 1.1]) ** -BANK.elasticity * [10, 20, 30]  # one decision each
    told = t(3.0, usual.sum(), (usual**2).sum(), 1 / usual[0] + 4 / usual[1], 2.0, 3.0)
    torch.testing.assert_close(sums[0, 0, -SPREAD:], told)


def sums_of(price, impressions, units):
    """Sums of one sale at a price relative to the anchor, (m + s + 1,)."""
    evidence = Evidence()
    add(evidence, [0], 0.0, [price], [impressions], [units])
    return evidence.gather(np.array([0]))[0][0, 0]


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
@pytest.mark.parametrize("half_life", [None, 8.0, 1.0])
def test_what_is_kept_for_good_and_what_is_recent_by_hand(half_life, order):
    evidence = Evidence(half_life=half_life and half_life * DAY_US)
    at = np.array([0, 4 * DAY_US])
    for i in order:
        add(evidence, [0], 0.0, [[0.9], [1.2]][i], [[10], [30]][i], [[3], [2]][i], at[i])
    lasting, recent = evidence.gather(np.array([0]))[0][0]
    old, new = sums_of(0.9, 10, 3), sums_of(1.2, 30, 2)
    kept = 1.0 if half_life is None else 0.5 ** (4 / half_life)
    torch.testing.assert_close(lasting, kept * old + new)
    torch.testing.assert_close(recent, min(kept, 0.5 ** (4 / RECENT_DAYS)) * old + new)


@settings(deadline=None, max_examples=30)
@given(histories(), st.sampled_from([None, 10 * DAY_US]))
def test_statistics_as_of_one_time_merge_by_addition(history, half_life):
    sales, parts = history
    listings = np.unique(sales["listing"])
    now = 50 * DAY_US
    zeros = np.zeros(len(listings))

    def folded(rows):
        evidence = fold(sales, [rows], half_life)
        add(evidence, listings, np.log(5.0 + listings), zeros + 1.0, zeros, zeros, now)
        return evidence.gather(listings)

    whole = folded(np.arange(len(sales["price"])))
    halves = (folded(part) for part in (parts[0], np.concatenate([*parts[1:], parts[0][:0]])))
    assert_alike([a + b for a, b in zip(*halves, strict=True)], whole)


def test_more_events_than_a_slice_holds():
    m = 20_000
    rng = np.random.default_rng(0)
    price = rng.uniform(5, 20, m)
    sales = {
        "listing": rng.integers(0, 50, m),
        "price": price,
        "impressions": rng.integers(1, 9, m).astype(float),
        "units": rng.integers(0, 2, m).astype(float),
    }
    large = fold(sales, [np.arange(m)])
    small = fold(sales, np.array_split(np.arange(m), 7))
    assert_alike(large.gather(np.arange(50)), small.gather(np.arange(50)))


def test_the_first_anchor_is_kept_for_what_a_row_holds():
    evidence = Evidence()
    add(evidence, [7, 2, 7], np.array([1.0, 2.0, 1.0]), [3.0, 7.0, 3.0], [1, 1, 1], [0, 0, 0])
    assert dict(zip(evidence.listing.tolist(), evidence.anchor.tolist(), strict=True)) == {
        2: 2.0,
        7: 1.0,
    }


def test_forgotten_listings_are_as_without_sales_and_learn_anew():
    both, other = Evidence(), Evidence()
    add(both, [5, 0], np.log(10.0), [9.0, 12.0], [100, 50], [4, 1], [0, DAY_US])
    both.forget(np.array([5, 8, -1]))
    add(both, [5], np.log(20.0), [9.0], [100], [4], [0])
    add(other, [5], np.log(20.0), [9.0], [100], [4], [0])
    for ours, theirs in zip(both.gather(np.array([5])), other.gather(np.array([5])), strict=True):
        assert torch.equal(ours, theirs)
    assert dict(zip(both.listing.tolist(), both.anchor.tolist(), strict=True)) == {
        0: np.log(10.0), 5: np.log(20.0)
    }  # fmt: skip


def test_restored_statistics_go_on():
    first = Evidence()
    add(first, [5, 0], np.log(10.0), [9.0, 12.0], [100, 50], [4, 1], [0, DAY_US])
    second = Evidence()
    n = len(first)
    second.restore(
        first.listing.copy(),
        first.anchor.copy(),
        first.sums[:n].clone(),
        first.totals[:n].clone(),
        first.as_of.copy(),
    )
    for evidence in (first, second):
        add(evidence, [0, 9], np.log(10.0), [8.0, 20.0], [10, 10], [2, 0], 3 * DAY_US)
    asked = np.array([0, 5, 9, 3, -1])
    for ours, theirs in zip(first.gather(asked), second.gather(asked), strict=True):
        assert torch.equal(ours, theirs)
    assert len(second) == 3


def test_no_sales_change_nothing():
    evidence = Evidence()
    add(evidence, np.empty(0, int), 0.0, [], [], [])
    assert len(evidence) == 0


# -- what evidence says --------------------------------------------------------------------------


def test_a_listing_without_sales_is_believed_the_prior():
    evidence = Evidence()
    add(evidence, [2], np.log(10.0), [12.0], [1000], [90])
    prior = prior_of(1)
    unknown = posterior_of(evidence, [-1, 0, 1, 3, 10**6])
    for row in range(5):
        assert torch.equal(unknown.weight[row], prior.weight[0])
        assert torch.equal(unknown.level[row], prior.level[0])
    known = posterior_of(evidence, [2])
    assert not torch.allclose(known.weight[0], prior.weight[0], atol=1e-3)


@pytest.mark.parametrize("guess_sd", [0.1, 0.4, 0.7])
def test_the_prior_is_what_the_population_says(guess_sd):
    population = dataclasses.replace(Population.default(BANK), level=0.07, level_shape=2.5)
    found = prior_of(1, population, guess_sd=guess_sd)
    before = prior(BANK, population, known_of(1, guess_sd=guess_sd))
    torch.testing.assert_close(found.weight, before.log_weight.exp())
    torch.testing.assert_close(found.level, 0.07 / before.at_worth)
    # no listing's level is known better than the population's, nor than what it is worth
    variance = squared(found) - found.level**2
    assert (before.doubt > 0).all()
    torch.testing.assert_close(variance, found.level**2 * (1 / 2.5 + before.doubt))
    mean, sd = found.worth()
    assert mean.item() == pytest.approx(0.0, abs=0.02)
    assert 0 < sd.item() < np.hypot(guess_sd, population.worth_sd)


def test_where_worth_and_elasticity_go_together_only_the_level_is_in_doubt():
    population = dataclasses.replace(Population.default(BANK), level_shape=2.5, elasticity_sd=0.0)
    belief = prior_of(2, population)
    assert (belief.shape == 2.5).all()


@pytest.mark.parametrize("guess", [-0.4, 0.0, 0.3])
def test_the_level_is_believed_at_the_price_that_the_listing_is_worth(guess):
    population = dataclasses.replace(
        Population.default(BANK), level=0.07, worth_sd=1e-3, elasticity=np.log(2.0)
    )
    # a guess that is certain is the worth, wherever a curve's reference price lies
    belief = prior_of(1, population, guess=guess, guess_sd=1e-6)
    demand = BANK.demand(t(guess))[0]
    near = (BANK.offsets - guess).abs() < 0.4
    at_guess = (belief.level[0] * demand)[:, near]
    torch.testing.assert_close(at_guess, torch.full_like(at_guess, 0.07), rtol=1e-3, atol=0)
    # one that says nothing leaves the reference price as the worth, if the elasticity is known
    alike = dataclasses.replace(population, elasticity_sd=1e-4)
    belief = prior_of(1, alike, guess=guess, guess_sd=1e6)
    at_reference = belief.level[0][:, near]
    torch.testing.assert_close(at_reference, torch.full_like(at_reference, 0.07), rtol=1e-4, atol=0)
    # and if not, more would be sold at it: 1 / f is convex, and the worth may lie above
    belief = prior_of(1, population, guess=guess, guess_sd=1e6)
    assert (belief.level[0][:, near] > 0.07 * 1.05).all()


def believed_demand(belief, log_price=0.0):
    """Mean units per impression at a price relative to the anchors, (n,)."""
    return (belief.weight * belief.level * BANK.demand(t(log_price))[0]).sum((1, 2))


def simulate(n, days, seed, *, location=0.5, kappa=1.0, level=0.05, shown=400):
    """Evidence of n listings whose reference price lies off their guesses, (l, locations)."""
    rng = np.random.default_rng(seed)
    truth = location + 0.1 * rng.standard_normal(n)
    anchor = np.log(rng.uniform(5, 50, n))
    evidence = Evidence()
    for day in range(days):
        z = truth + rng.uniform(-0.6, 0.6, n)
        rate = level * np.exp(-2.0 * (np.exp(kappa * (z - truth)) - 1.0) / kappa)
        units = rng.poisson(shown * rate)
        add(
            evidence,
            np.arange(n),
            anchor,
            np.exp(anchor + z),
            np.full(n, shown),
            units,
            day * DAY_US,
        )
    return evidence, truth


@pytest.mark.statistical
@pytest.mark.parametrize("location", [-0.6, 0.5])
def test_sales_sharpen_the_location_towards_the_truth(location):
    # Mean errors of 60 listings, seeded; the bounds hold in 20 seeds of 20 (last: 0.07 to 0.16).
    errors, sds = [], []
    for days in (0, 4, 40):
        evidence, truth = simulate(60, days, seed=1, location=location)
        mean, sd = posterior_of(evidence, np.arange(60)).location()
        errors.append(np.abs(mean.numpy() - truth).mean())
        sds.append(sd.numpy().mean())
    assert errors[0] > errors[1] > errors[2]
    assert sds[0] > sds[1] > sds[2]
    assert errors[2] < 0.2
    assert errors[2] < 0.35 * errors[0]


@pytest.mark.statistical
def test_the_learned_level_is_the_true_one():
    # Seeded; 60 listings of 16,000 impressions: the mean is within 6 % in 20 seeds of 20.
    evidence, _ = simulate(60, 40, seed=2, location=0.0, level=0.08)
    belief = posterior_of(evidence, np.arange(60))
    believed = believed_demand(belief).mean().item()  # at the guess: the truth but for noise
    assert believed == pytest.approx(0.08, rel=0.15)


@pytest.mark.parametrize("units", [-5.0, -1.0, 0.0])
def test_returns_that_outrun_sales_do_not_break_the_belief(units):
    evidence = Evidence()
    add(evidence, [0, 0], np.log(10.0), [12.0, 9.0], [100, 100], [2.0, units - 2.0])
    belief = posterior_of(evidence, [0])
    assert torch.isfinite(belief.weight).all()
    assert belief.weight.sum().item() == pytest.approx(1.0)
    assert (belief.level > 0).all()
    # shown 200 times, and nothing kept
    assert (believed_demand(belief) < believed_demand(prior_of(1))).all()


@settings(deadline=None, max_examples=60)
@given(
    sales=st.lists(
        st.tuples(
            st.sampled_from([1e-2, 0.5, 10.0, 1e4, 1e9]),
            st.sampled_from([0.0, 1.0, 1e4, 1e9, 1e12]),
            st.sampled_from([-1e3, -1.0, 0.0, 1.0, 1e9]),
        ),
        min_size=1,
        max_size=4,
    ),
    anchor=st.sampled_from([1e-2, 1.0, 10.0, 1e9]),
    guess=st.sampled_from([-25.0, -1.0, 0.0, 1.0, 25.0]),
    guess_sd=st.sampled_from([1e-3, 0.3, 1.5]),
)
def test_extremes_leave_numbers(sales, anchor, guess, guess_sd):
    price, impressions, units = map(list, zip(*sales, strict=True))
    evidence = Evidence()
    add(evidence, [0] * len(sales), np.log(anchor), price, impressions, units)
    belief = posterior_of(evidence, [0], guess, guess_sd)
    assert torch.isfinite(belief.weight).all()
    assert belief.weight.sum().item() == pytest.approx(1.0)
    assert torch.isfinite(belief.level).all()
    assert (belief.level > 0).all()
    assert torch.isfinite(belief.log_likelihood).all()
    mean, sd = belief.location()
    assert abs(mean.item()) <= BANK.reach + 1e-9
    assert 0 <= sd.item() <= BANK.reach
