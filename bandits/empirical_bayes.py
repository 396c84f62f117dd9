"""The population of demand curves learned from the sales of many listings: empirical Bayes."""

import math
from collections.abc import Sequence

import torch

from bandits.curves import CurveBank
from bandits.evidence import posterior
from bandits.population import Effect, Known, Population

_ITERATIONS, _RESUMED = 25, 25
_EFFECT_SD = 0.25  # of the effect of a block of traits on log elasticity, before any sales
_FARTHEST = 20.0  # standard deviations from its mean that a parameter is taken for, at most
_BETTER = 5.0  # nats by which a block must explain held-out sales better
_MOST_UNITS = 300.0  # units for which a listing counts, at most
_FEWEST = 40  # listings from which halves teach anything

# What the parameters are taken for before any sales: mean and standard deviation of each on the
# scale on which it is normal, and how many listings the usual shapes weigh. The spread of
# elasticities is held close: prices that hardly vary say little of it, buyers who are no curve of
# the bank make it look smaller, and a policy sure of elasticities stops exploring.
_SHIFT = (0.0, 0.15)
_LOG_WORTH_SD = (math.log(0.3), 0.4)
_ELASTICITY = (0.64, 0.15)
_LOG_ELASTICITY_SD = (math.log(0.4), 0.1)
_LOG_LEVEL = (math.log(0.03), 1.0)
_LOG_LEVEL_SHAPE = (math.log(2.5), 0.5)
_SHAPE_LISTINGS = 20.0

_SCALARS = (_SHIFT, _LOG_WORTH_SD, _ELASTICITY, _LOG_ELASTICITY_SD, _LOG_LEVEL, _LOG_LEVEL_SHAPE)


def learn_population(
    bank: CurveBank, sums: torch.Tensor, known: Known, blocks: Sequence[str] | None = None
) -> Population:
    """The population whose parameters make the listings' sales most likely.

    Type II maximum likelihood (Robbins 1956; MacKay, "Bayesian interpolation", Neural Computation
    1992, section 4) by L-BFGS on the marginal likelihood of every listing's sales, with weak priors
    on the parameters. A function of its arguments alone.

    Args:
        sums: of the listings' own sales, (n, m + s + 1), see `Evidence`. known: of them.
        blocks: traits that elasticity depends on; chosen on held-out sales if None.
    """
    if len(known) == 0:
        return Population.default(bank)
    # a listing that sells by the thousand would show the coarseness of the bank, and nothing else
    often = (_MOST_UNITS / sums[:, -1].clamp_min(1.0)).clamp(max=1.0)
    fit = _Fit(bank, sums * often[:, None], known)
    plain = fit.maximised((), _ITERATIONS)
    if blocks is None:
        blocks = _chosen(fit, plain)
    blocks = [name for name in blocks if name in fit.centre]
    if not blocks:
        return fit.population((), plain)
    return fit.population(blocks, fit.maximised(blocks, _RESUMED, plain))


class _Fit:
    """A marginal likelihood, over vectors of parameters: scalars, shapes, effects."""

    def __init__(self, bank: CurveBank, sums: torch.Tensor, known: Known) -> None:
        self.bank, self.sums, self.known = bank, sums, known
        # effects are learned for blocks of unit length on average
        self.centre, self.scale = {}, {}
        for name, block in known.traits.items():
            some = block[(block != 0).any(1)]
            if len(some) < 2:
                continue
            off = some - some.mean(0)
            length = float((off**2).sum(1).mean().sqrt())
            if length > 1e-9:
                self.centre[name], self.scale[name] = some.mean(0), length

    def part(self, rows: torch.Tensor) -> "_Fit":
        """The same with some of the listings."""
        other = object.__new__(_Fit)
        other.bank, other.centre, other.scale = self.bank, self.centre, self.scale
        other.sums, other.known = self.sums[rows], self.known.take(rows)
        return other

    def population(self, blocks: Sequence[str], theta: torch.Tensor) -> Population:
        """Parameters from where the optimiser has them."""
        scalars, shapes = len(_SCALARS), len(self.bank.shapes)
        # sales without impressions, or returns alone, would take some beyond all numbers
        mean, sd = torch.tensor(_SCALARS, dtype=torch.float64).T
        near = torch.clamp(theta[:scalars], mean - _FARTHEST * sd, mean + _FARTHEST * sd)
        shift, worth_sd, elasticity, elasticity_sd, level, level_shape = near
        effects: dict[str, Effect] = {}
        start = scalars + shapes
        for name in blocks:
            width = len(self.centre[name])
            slope = theta[start : start + width] * (_EFFECT_SD / self.scale[name])
            effects[name] = Effect(self.centre[name], slope)
            start += width
        return Population(
            torch.softmax(theta[scalars : scalars + shapes], 0),
            shift,
            torch.exp(worth_sd),
            elasticity,
            torch.exp(elasticity_sd),
            torch.exp(level),
            torch.exp(level_shape),
            effects,
        )

    def log_likelihood(self, blocks: Sequence[str], theta: torch.Tensor) -> torch.Tensor:
        """Marginal likelihood of each listing's sales, (n,)."""
        population = self.population(blocks, theta)
        return posterior(self.bank, self.sums, population, self.known).log_likelihood

    def maximised(
        self, blocks: Sequence[str], iterations: int, start: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The most likely parameters; from `start`, whose effects are those of no block."""
        scalars, shapes = len(_SCALARS), len(self.bank.shapes)
        width = sum(len(self.centre[name]) for name in blocks)
        theta = torch.zeros(scalars + shapes + width, dtype=torch.float64)
        mean, sd = torch.tensor(_SCALARS, dtype=torch.float64).T
        theta[:scalars] = mean
        usual = Population.default(self.bank).shapes
        theta[scalars : scalars + shapes] = torch.log(usual)
        if start is not None:
            theta[: scalars + shapes] = start[: scalars + shapes]
        theta.requires_grad_(True)
        search = torch.optim.LBFGS(
            [theta], max_iter=iterations, history_size=20, line_search_fn="strong_wolfe"
        )

        def loss() -> torch.Tensor:
            search.zero_grad()
            fit = self.log_likelihood(blocks, theta).sum()
            off = (theta[:scalars] - mean) / sd
            effects = theta[scalars + shapes :]
            weights = torch.log_softmax(theta[scalars : scalars + shapes], 0)
            doubt = _SHAPE_LISTINGS * (usual @ weights) - 0.5 * (off @ off + effects @ effects)
            total: torch.Tensor = -(fit + doubt) / len(self.sums)
            total.backward()  # type: ignore[no-untyped-call]
            return total

        search.step(loss)  # type: ignore[no-untyped-call]
        return theta.detach()


def _chosen(fit: _Fit, plain: torch.Tensor) -> list[str]:
    """The blocks of traits that help to explain held-out sales, added one by one.

    Each half of the listings is explained by what the other half teaches; a block is added while
    that makes the sales of all likelier by more than `_BETTER`.
    """
    n = len(fit.sums)
    if n < _FEWEST:
        return []
    even = torch.arange(n) % 2 == 0
    halves = [(fit.part(~held), fit.part(held)) for held in (even, ~even)]

    def held_out(blocks: Sequence[str]) -> float:
        return sum(
            float(test.log_likelihood(blocks, train.maximised(blocks, _RESUMED, plain)).sum())
            for train, test in halves
        )

    chosen: list[str] = []
    reached = held_out(chosen) + _BETTER
    while rest := [name for name in fit.centre if name not in chosen]:
        fits = {name: held_out([*chosen, name]) for name in rest}
        best = max(fits, key=lambda name: fits[name])
        if fits[best] <= reached:
            break
        chosen.append(best)
        reached = fits[best] + _BETTER
    return chosen
