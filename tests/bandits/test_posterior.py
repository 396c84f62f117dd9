"""The posterior against integration by brute force."""

import dataclasses
from math import lgamma

import numpy as np
import pytest
import torch
from plain_sales import add, squared, t

from bandits import CurveBank, Evidence, Known, Population
from bandits.evidence import LEVEL_DRIFT, posterior

SMALL = CurveBank(shapes=(0.5, 2.0), reach=1.0, locations=5)
SALES = {"price": [8.0, 10.0, 14.0], "impressions": [40, 25, 60], "units": [3, 1, 2]}
ANCHOR = np.log(9.0)
KNOWN = Known(t(-0.2), t(0.25))


def small_population(**changed):
    shapes = t(0.3, 0.7)
    return dataclasses.replace(Population(shapes, 0.1, 0.35, 0.5, 0.4, 0.05, 1.7), **changed)


def log_f(kappa, log_relative_price):
    """Log of the curve of one shape at prices relative to its reference price."""
    return -SMALL.elasticity * np.expm1(kappa * log_relative_price) / kappa


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def prior_by_hand(population, kappa, offset):
    """Of the hypothesis that a curve lies at `offset`: how likely that is relative to others of
    its shape, and shape and mean of the Gamma distribution of its level.

    Of a curve located there, log elasticity is log 2 + κ (log worth − offset): what is known of
    both is a product of two normals over the worth.
    """
    worth = KNOWN.guess.item() + population.shift
    worth_variance = (population.guess_error * KNOWN.guess_sd.item()) ** 2
    worth_variance += population.worth_sd**2
    by_curve = offset + (population.elasticity - np.log(SMALL.elasticity)) / kappa
    curve_variance = (population.elasticity_sd / kappa) ** 2
    both = worth_variance + curve_variance
    likely = np.exp(-0.5 * (worth - by_curve) ** 2 / both)
    precision = 1 / worth_variance + 1 / curve_variance
    mean = (worth / worth_variance + by_curve / curve_variance) / precision
    off = mean - offset
    # the moments of log f at the worth, whose mean is exact and whose variance is by the slope
    average = WEIGHTS @ log_f(kappa, off + NODES / np.sqrt(precision))
    variance = (SMALL.elasticity * np.exp(kappa * off)) ** 2 / precision
    at_worth = np.exp(average - variance / 2).clip(0.02, 50.0)  # nobody sells far from there
    k = 1 / (1 / population.level_shape + np.expm1(min(variance, 2.0)))
    return likely, k, population.level / at_worth


LOG_LEVEL = np.linspace(-40.0, 8.0, 40_001)


def log_gamma_density(shape, mean):
    """Log of a Gamma density over `LOG_LEVEL`, as one of the logarithm."""
    rate = shape / mean
    return shape * np.log(rate) - lgamma(shape) + shape * LOG_LEVEL - rate * np.exp(LOG_LEVEL)


def by_integration(population, older=0):
    """Marginal likelihood, weights, mean and mean square of the level, over a grid of levels.

    Gamma prior times Poisson likelihood of every sale, with log a as the variable: the integrand
    falls off doubly exponentially and the trapezoidal rule is exact to machine precision. After the
    first `older` sales the level is drawn anew, around what it is then believed to be.
    """
    log_a = LOG_LEVEL
    a, step = np.exp(log_a), log_a[1] - log_a[0]
    price, shown, _ = (np.array(column) for column in SALES.values())
    usual = shown * (price / np.exp(ANCHOR)) ** -SMALL.elasticity
    drift = LEVEL_DRIFT * usual[:older].sum() / usual.sum()
    marginal = np.empty((2, 5))
    first, second = np.empty((2, 5)), np.empty((2, 5))
    for s, kappa in enumerate(SMALL.shapes):
        hands = [prior_by_hand(population, kappa, offset) for offset in SMALL.offsets.tolist()]
        total = sum(likely for likely, _, _ in hands)
        for i, (likely, k, level) in enumerate(hands):
            log_mass, seen = log_gamma_density(k, level), 1.0
            for row, (price, n, u) in enumerate(zip(*SALES.values(), strict=True)):
                if older and row == older:
                    mass = np.exp(log_mass) * step
                    seen = mass.sum()
                    mean = (a * mass).sum() / seen
                    apart = (a * a * mass).sum() / seen / mean**2 - 1
                    log_mass = log_gamma_density(1 / (apart + drift), mean)
                z = np.log(price) - ANCHOR - SMALL.offsets[i].item()
                expected = n * a * np.exp(log_f(kappa, z))
                log_mass = log_mass + u * np.log(expected) - expected - lgamma(u + 1)
            mass = np.exp(log_mass) * step
            marginal[s, i] = population.shapes[s].item() * likely / total * seen * mass.sum()
            first[s, i] = (a * mass).sum() / mass.sum()
            second[s, i] = (a * a * mass).sum() / mass.sum()
    return marginal.sum(), marginal / marginal.sum(), first, second


def small_sums(older):
    """The sums of the sales above, of all and of those after the first `older`, (1, 2, m + s + 6),
    written from their definition; of how units vary only what was shown."""
    parts = []
    for part in (slice(None), slice(older, None)):
        price, impressions, units = (t(*column[part]) for column in SALES.values())
        log_price = torch.log(price) - ANCHOR
        exposure = impressions @ SMALL.demand(log_price).flatten(1)
        powers = units @ SMALL.powers(log_price)
        shown = impressions @ torch.exp(-SMALL.elasticity * log_price)
        spread = torch.stack([0 * shown, shown, *[0 * shown] * 3, units.sum()])
        parts.append(torch.cat([exposure, powers, spread]))
    return torch.stack(parts)[None]


def small_posterior(population):
    evidence = Evidence(SMALL)
    add(evidence, [4, 4, 4], ANCHOR, *SALES.values())
    return evidence.posterior(np.array([4]), population, KNOWN)


def test_the_posterior_is_what_brute_force_integration_finds():
    population = small_population()
    _, weight, level, level_square = by_integration(population)
    found = small_posterior(population)
    np.testing.assert_allclose(found.weight[0].numpy(), weight, rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.weight[0].numpy(), weight, rtol=1e-8)
    np.testing.assert_allclose(found.level[0].numpy(), level, rtol=1e-8)
    np.testing.assert_allclose(squared(found)[0].numpy(), level_square, rtol=1e-8)
    at_once = posterior(SMALL, small_sums(0), population, KNOWN)
    torch.testing.assert_close(at_once.weight, found.weight, rtol=1e-12, atol=0)


@pytest.mark.parametrize("older", [1, 2])
def test_recent_sales_are_of_a_level_near_that_of_older_ones(older):
    population, other = small_population(), small_population(level=0.2)
    marginal, weight, level, _ = by_integration(population, older)
    found = posterior(SMALL, small_sums(older), population, KNOWN)
    np.testing.assert_allclose(found.weight[0].numpy(), weight, rtol=1e-8)
    np.testing.assert_allclose(found.level[0].numpy(), level, rtol=1e-8)
    expected = np.log(by_integration(other, older)[0]) - np.log(marginal)
    likelier = posterior(SMALL, small_sums(older), other, KNOWN).log_likelihood
    assert (likelier - found.log_likelihood).item() == pytest.approx(expected, abs=1e-9)
    # how surely it is known is said as if it were the same
    same = posterior(SMALL, small_sums(0), population, KNOWN)
    torch.testing.assert_close(found.shape, same.shape)
    assert not torch.allclose(found.weight, same.weight, rtol=1e-3)


def sold(units_before, units_now):
    """Sums of 2,000 impressions before and 1,000 now at nine, all and recent."""
    old, now = Evidence(SMALL), Evidence(SMALL)
    add(old, [0], ANCHOR, [9.0], [2000], [units_before])
    add(now, [0], ANCHOR, [9.0], [1000], [units_now])
    older, recent = (one.gather(np.array([0]))[0][:, 0] for one in (old, now))
    return torch.stack([older + recent, recent], dim=1)


@pytest.mark.parametrize("units", [30, 40, 55])
def test_levels_are_known_as_if_they_stayed_where_chance_explains_recent_sales(units):
    population = small_population()
    found = posterior(SMALL, sold(80, units), population, KNOWN).shape
    together = sold(80, units)
    together[:, 1] = 0.0  # all of it older
    torch.testing.assert_close(found, posterior(SMALL, together, population, KNOWN).shape)


@pytest.mark.parametrize(("units", "most"), [(15, False), (100, False), (0, True), (200, True)])
def test_levels_that_have_moved_are_known_less_surely_by_as_much_as_they_have(units, most):
    population, sums = small_population(), sold(80, units)
    found = posterior(SMALL, sums, population, KNOWN)
    curves = (found.weight * found.level).flatten(1) @ sums[0, :, : SMALL.size].T
    expected = torch.stack([curves[0, 0] - curves[0, 1], curves[0, 1]]) + 0.5
    off = torch.log((t(80, units) + 0.5) / expected)
    moved = (off[1] - off[0]) ** 2 - 4.0 * ((1 / expected).sum() + 0.01)
    assert moved > 0.1
    assert (moved > 1.0).item() == most
    k = posterior(SMALL, 0 * sums, population, KNOWN).shape
    wanted = 1 / (k + 80 + units) + moved.clamp(max=1.0)
    torch.testing.assert_close(1 / found.shape, wanted)


def test_older_sales_alone_are_as_likely_whatever_the_level_is_now():
    population = small_population()
    recent, gone = small_sums(0), small_sums(3)
    now, then = (posterior(SMALL, sums, population, KNOWN) for sums in (recent, gone))
    torch.testing.assert_close(then.log_likelihood, now.log_likelihood)
    torch.testing.assert_close(then.level, now.level)
    torch.testing.assert_close(then.weight, now.weight)


@pytest.mark.parametrize(
    "changed",
    [
        {"level": 0.2},
        {"level_shape": 0.8},
        {"level_shape": 9.0, "level": 0.01},
        {"worth_sd": 1.0},
        {"guess_error": 2.0},
        {"shift": -0.6},
        {"elasticity": 1.2},
        {"elasticity_sd": 0.9},
        {"shapes": t(0.9, 0.1)},
    ],
    ids=lambda changed: "+".join(changed),
)
def test_populations_compare_by_their_marginal_likelihood(changed):
    ours, theirs = small_population(), small_population(**changed)
    expected = np.log(by_integration(theirs)[0]) - np.log(by_integration(ours)[0])
    found = small_posterior(theirs).log_likelihood - small_posterior(ours).log_likelihood
    assert abs(expected) > 1e-3
    assert found.item() == pytest.approx(expected, abs=1e-9)


def test_the_location_has_the_moments_of_its_marginal():
    belief = small_posterior(small_population())
    marginal = belief.weight[0].sum(0).numpy()
    offsets = SMALL.offsets.numpy()
    mean, sd = belief.location(SMALL)
    assert mean.item() == pytest.approx((marginal * offsets).sum())
    expected = np.sqrt((marginal * (offsets - mean.item()) ** 2).sum())
    assert sd.item() == pytest.approx(expected)
