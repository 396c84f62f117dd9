import dataclasses

import numpy as np
import pytest
import torch

from bandits import CurveBank, Known, Policy, Population
from bandits.curves import DEFAULT_BANK
from bandits.empirical_bayes import learn_population
from bandits.population import ELASTICITY, ELASTICITY_SD, TYPICAL_SHAPE, Effect, implied, prior

FINE = CurveBank(reach=16.0, locations=1601)
DEFAULT = Population.default(FINE)
TRAITS = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.2, 0.4]], dtype=torch.float64)


def moments(belief, value):
    """Mean and variance of `value` (s, l) for each shape, (s,) each."""
    weight = torch.softmax(belief.log_weight[0], 1)
    mean = (weight * value).sum(1)
    return mean, (weight * value**2).sum(1) - mean**2


def test_the_default_population_prefers_usual_shapes():
    bank = CurveBank(shapes=(TYPICAL_SHAPE / 4, TYPICAL_SHAPE / 2, TYPICAL_SHAPE * 2))
    population = Population.default(bank)
    assert population.shapes.sum().item() == pytest.approx(1.0)
    rarest, lower, upper = population.shapes.tolist()
    assert 0 < rarest < lower
    assert lower == pytest.approx(upper)
    assert population.shift == 0.0
    assert not population.effects


def test_rows_of_what_is_known(make):
    known = make.known(3, guess=[1.0, 2.0, 3.0], guess_sd=0.2, text=TRAITS)
    some = known.take(torch.tensor([2, 0]))
    assert len(some) == 2
    assert some.guess.tolist() == [3.0, 1.0]
    assert torch.equal(some.traits["text"], TRAITS[[2, 0]])


def test_a_thin_margin_says_that_buyers_are_elastic():
    for markup, right in ((1.1, 11.0), (1.2, 6.0), (1.02, 20.0), (0.9, 20.0)):  # p / (p − c)
        assert implied(np.log(markup)) == pytest.approx(np.log(right) - ELASTICITY_SD - ELASTICITY)
    assert implied(np.log(1.6)) == implied(np.log(2.0)) == implied(np.log(8.0)) == 0.0
    policy = Policy()
    policy.expect(np.log(1.1))
    usual, leaning = DEFAULT, policy.population
    known = Known(*torch.zeros(2, 3, dtype=torch.float64))
    more = leaning.log_elasticity(known) - usual.log_elasticity(known)
    assert more.tolist() == pytest.approx([implied(np.log(1.1))] * 3)
    # what is learned from sales is learned beside it
    sums = torch.zeros(3, 2, DEFAULT_BANK.size + len(DEFAULT_BANK.shapes) + 6, dtype=torch.float64)
    assert learn_population(DEFAULT_BANK, sums, known, leaning.lean).lean == leaning.lean
    policy.expect(np.log(2.0))
    assert policy.population.lean == 0.0


def test_an_effect_spares_rows_of_which_nothing_is_known():
    effect = Effect(torch.tensor([0.5, 0.5]).double(), torch.tensor([2.0, -1.0]).double())
    found = effect.of(TRAITS)
    expected = [0.5 * 2 + 0.5, 0.0, -0.3 * 2 + 0.1]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_effects_add_up_where_their_traits_are_known(make):
    slope = torch.tensor([1.0, 0.0]).double()
    effects = {name: Effect(torch.zeros(2).double(), slope) for name in ("text", "words", "other")}
    population = dataclasses.replace(DEFAULT, elasticity=0.5, effects=effects)
    known = make.known(3, text=TRAITS, words=2 * TRAITS)
    expected = 0.5 + 3 * TRAITS[:, 0]
    torch.testing.assert_close(population.log_elasticity(known), expected)


@pytest.mark.parametrize("guess_sd", [0.0, 0.4, 1.2])
def test_the_location_is_normal_with_the_moments_stated(make, guess_sd):
    population = dataclasses.replace(
        DEFAULT, shift=0.15, worth_sd=0.25, elasticity=0.9, elasticity_sd=0.3
    )
    belief = prior(FINE, population, make.known(1, -0.3, guess_sd))
    mean, variance = moments(belief, FINE.offsets.expand(4, -1))
    kappa = FINE.kappa
    expected = -0.3 + 0.15 + (np.log(2.0) - 0.9) / kappa
    torch.testing.assert_close(mean, expected, rtol=0, atol=1e-6)
    expected = guess_sd**2 + 0.25**2 + (0.3 / kappa) ** 2
    torch.testing.assert_close(variance, expected, rtol=1e-6, atol=1e-6)


def test_shapes_are_as_likely_as_the_population_says(make):
    shapes = torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    belief = prior(FINE, dataclasses.replace(DEFAULT, shapes=shapes), make.known(2, guess_sd=0.5))
    found = belief.log_weight.exp().sum(2)
    torch.testing.assert_close(found, shapes.expand(2, -1))


def test_traits_move_the_location_by_their_effect(make):
    effect = Effect(torch.zeros(2).double(), torch.tensor([0.3, 0.0]).double())
    population = dataclasses.replace(DEFAULT, effects={"text": effect})
    moved = moments(prior(FINE, population, make.known(1, text=TRAITS[:1])), FINE.offsets)[0]
    plain = moments(prior(FINE, population, make.known(1, text=TRAITS[1:2])), FINE.offsets)[0]
    torch.testing.assert_close(moved - plain, -0.3 / FINE.kappa, rtol=0, atol=1e-6)


def test_the_worth_under_a_hypothesis_is_its_mean_given_where_the_curve_is(make):
    population = dataclasses.replace(
        DEFAULT, shift=0.1, worth_sd=0.3, elasticity=0.8, elasticity_sd=0.5
    )
    belief = prior(FINE, population, make.known(1, 0.2, 0.4))
    worth = np.linspace(-6.0, 6.0, 2001)
    density = np.exp(-((worth - 0.3) ** 2) / (2 * 0.5**2))
    for s, kappa in enumerate(FINE.shapes):
        for i in range(700, 901, 50):
            # a curve located here has this log elasticity at each worth
            elasticity = np.log(2.0) + kappa * (worth - FINE.offsets[i].item())
            mass = density * np.exp(-((elasticity - 0.8) ** 2) / (2 * 0.5**2))
            expected = (worth * mass).sum() / mass.sum()
            assert belief.log_worth[0, s, i].item() == pytest.approx(expected, abs=1e-9)


def test_demand_at_a_worth_that_is_not_in_doubt_is_that_of_the_curve_there(make):
    # where all are as elastic, where a curve lies says what the listing is worth
    population = dataclasses.replace(DEFAULT, elasticity_sd=0.0)
    belief = prior(FINE, population, make.known(1, 0.2, 0.4))
    exact = torch.stack(
        [FINE.demand(belief.log_worth[0, s])[:, s].diagonal() for s in range(len(FINE.shapes))]
    )
    near = (FINE.offsets.abs() < 6.0) & (belief.log_worth[0].abs() < 6.0)
    torch.testing.assert_close(belief.at_worth[0][near], exact.clamp(0.02, 50.0)[near])
    assert ((exact > 0.02) & (exact < 50.0))[near].double().mean() > 0.5
    assert not belief.doubt.any()


@pytest.mark.parametrize(
    ("elasticity_sd", "tolerance", "doubt_tolerance"),
    [(0.005, 1e-6, 0.001), (0.02, 1e-4, 0.012), (0.05, 0.003, 0.07), (0.1, 0.025, 0.26)],
)
@pytest.mark.parametrize("guess_sd", [0.0, 0.4])
def test_demand_at_a_worth_in_doubt_is_what_integration_finds(
    make, guess_sd, elasticity_sd, tolerance, doubt_tolerance
):
    # the variance of log f by its slope: right where there is little doubt, too low where much
    population = dataclasses.replace(
        DEFAULT, shift=0.1, worth_sd=0.3, elasticity=0.8, elasticity_sd=elasticity_sd
    )
    belief = prior(FINE, population, make.known(1, 0.2, guess_sd))
    spread = np.hypot(guess_sd, 0.3)
    for s, kappa in enumerate(FINE.shapes):
        for i in range(740, 861, 20):  # within 0.6 of the anchor
            offset, middle = FINE.offsets[i].item(), belief.log_worth[0, s, i].item()
            # far out 1 / f grows faster than the density falls: no farther than is likely
            sd = 1 / np.hypot(1 / spread, kappa / elasticity_sd)
            worth = middle + sd * np.linspace(-7.0, 7.0, 4001)
            elasticity = np.log(2.0) + kappa * (worth - offset)
            off_guess, off_usual = (worth - 0.3) / spread, (elasticity - 0.8) / elasticity_sd
            mass = np.exp(-0.5 * (off_guess**2 + off_usual**2))
            mass /= mass.sum()
            inverse = np.exp(2.0 / kappa * np.expm1(kappa * (worth - offset)))  # 1 / f
            mean = mass @ inverse
            doubt = mass @ inverse**2 / mean**2 - 1
            assert belief.at_worth[0, s, i].item() == pytest.approx(1 / mean, rel=tolerance)
            found = belief.doubt[0, s, i].item()
            assert found == pytest.approx(doubt, rel=doubt_tolerance)


@pytest.mark.statistical
def test_the_prior_is_the_distribution_of_the_listings_it_describes(make):
    # 20,000 listings, seeded; standard errors of mean and deviation are 0.7 % of the deviation
    population = dataclasses.replace(DEFAULT, shift=-0.2, elasticity=0.8)
    shop = make.shop(population, make.known(20_000, 0.3, 0.2), seed=0)
    belief = prior(FINE, population, make.known(1, 0.3, 0.2))
    means, variances = moments(belief, FINE.offsets.expand(4, -1))
    for kappa, mean, variance in zip(FINE.shapes, means, variances, strict=True):
        ours = shop.kappa == kappa
        location = (shop.worth + np.log(2.0 / shop.elasticity) / kappa)[ours]
        sd = variance.sqrt().item()
        assert location.mean() == pytest.approx(mean.item(), abs=4 * sd / np.sqrt(ours.sum()))
        assert location.std() == pytest.approx(sd, rel=0.05)
