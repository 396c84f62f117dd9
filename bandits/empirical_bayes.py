"""The population of demand curves learned from the sales of many listings: empirical Bayes."""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from bandits.curves import CurveBank
from bandits.evidence import posterior
from bandits.population import Effect, Known, Population

_ITERATIONS, _RESUMED = 25, 25
_EFFECT_SDS = (0.1, 0.15, 0.2, 0.3)  # of the effect of a block of traits on log elasticity
_STEP = 0.3  # of log elasticity, over which sales are taken to answer as a parabola
_FARTHEST = 20.0  # standard deviations from its mean that a parameter is taken for, at most
_BETTER = 3.0  # nats by which a block must make the sales likelier
_MOST_UNITS = 300.0  # units for which a listing counts, at most
_FEWEST = 40  # listings from which traits, or guesses, teach anything

# What the parameters are taken for before any sales: mean and standard deviation of each on the
# scale on which it is normal, and how many listings the usual shapes weigh.
_SHIFT = (0.0, 0.08)
_LOG_WORTH_SD = (math.log(0.3), 0.4)
_LOG_GUESS_ERROR, _FIXED = (0.0, 0.7), (0.0, 1e-3)  # learned, or not
_ELASTICITY = (0.64, 0.15)
_LOG_LEVEL = (math.log(0.03), 1.0)
_LOG_LEVEL_SHAPE = (math.log(2.5), 0.5)
_SHAPE_LISTINGS = 20.0

_COMMON = 0.25  # share of what guesses are said to err that may be common to all of them


def learn_population(
    bank: CurveBank, sums: torch.Tensor, known: Known, lean: float | torch.Tensor = 0.0
) -> Population:
    """The population whose parameters make the listings' sales most likely.

    Type II maximum likelihood (Robbins 1956; MacKay, "Bayesian interpolation", Neural Computation
    1992, section 4) by L-BFGS on the marginal likelihood of every listing's sales, with weak priors
    on the parameters. Which traits elasticity depends on, and how much, is learned, too. A function
    of its arguments alone.

    Args:
        sums: of the listings' own sales, (n, 2, m + s + 6), see `posterior`. known: of them. lean:
            what their shop's usual markup says, as `Population` has it.
    """
    if len(known) == 0:
        return replace(Population.default(bank), lean=lean)
    # a listing that sells by the thousand would show the coarseness of the bank, and nothing else
    often = (_MOST_UNITS / sums[:, 0, -1].clamp_min(1.0)).clamp(max=1.0)
    fit = _Fit(bank, sums * often[:, None, None], known, lean)
    plain = fit.maximised({}, _ITERATIONS)
    effect_sd, slopes = _chosen(fit, plain)
    if not effect_sd:
        return fit.population({}, plain)
    start = torch.cat([plain, slopes])
    return fit.population(effect_sd, fit.maximised(effect_sd, _RESUMED, start))


class _Fit:
    """A marginal likelihood, over vectors of parameters: scalars, shapes, effects."""

    def __init__(
        self, bank: CurveBank, sums: torch.Tensor, known: Known, lean: float | torch.Tensor
    ) -> None:
        self.bank, self.sums, self.known, self.lean = bank, sums, known, lean
        # before any sales, mean and standard deviation of each scalar, (scalars,)
        shift = _SHIFT[0], max(_SHIFT[1], _COMMON * float(known.guess_sd.median()))
        guessed = int((known.guess_sd > 0).sum())
        # one odd guess is no matter of the others
        guess_error = _LOG_GUESS_ERROR if guessed >= _FEWEST else _FIXED
        scalars = (
            shift, _LOG_WORTH_SD, guess_error, _ELASTICITY, _LOG_LEVEL, _LOG_LEVEL_SHAPE,
        )  # fmt: skip
        self.mean, self.sd = torch.tensor(scalars, dtype=torch.float64).T
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

    def standard(self, name: str) -> torch.Tensor:
        """A block of traits around 0 and of unit length on average, (n, q); 0 where unknown."""
        block = self.known.traits[name]
        there = (block != 0).any(1, keepdim=True)
        return torch.where(there, (block - self.centre[name]) / self.scale[name], 0.0)

    def population(self, effect_sd: Mapping[str, float], theta: torch.Tensor) -> Population:
        """Parameters from where the optimiser has them; `effect_sd`: as `_chosen`."""
        scalars, shapes = len(self.mean), len(self.bank.shapes)
        # sales without impressions, or returns alone, would take some beyond all numbers
        reach = _FARTHEST * self.sd
        near = torch.clamp(theta[:scalars], self.mean - reach, self.mean + reach)
        shift, worth_sd, guess_error, elasticity, level, level_shape = near
        effects: dict[str, Effect] = {}
        start = scalars + shapes
        for name, moved in effect_sd.items():
            width = len(self.centre[name])
            slope = theta[start : start + width] * (moved / self.scale[name])
            effects[name] = Effect(self.centre[name], slope)
            start += width
        return Population(
            torch.softmax(theta[scalars : scalars + shapes], 0),
            shift,
            torch.exp(worth_sd),
            elasticity,
            level=torch.exp(level),
            level_shape=torch.exp(level_shape),
            guess_error=torch.exp(guess_error),
            lean=self.lean,
            effects=effects,
        )

    def log_likelihood(self, population: Population) -> torch.Tensor:
        """Marginal likelihood of each listing's sales, (n,)."""
        return posterior(self.bank, self.sums, population, self.known).log_likelihood

    def maximised(
        self, effect_sd: Mapping[str, float], iterations: int, start: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The most likely parameters; from `start` if given."""
        scalars, shapes = len(self.mean), len(self.bank.shapes)
        usual = Population.default(self.bank).shapes
        first = torch.cat([self.mean, torch.log(usual)]) if start is None else start

        def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            theta = torch.tensor(at, requires_grad=True)
            fit = self.log_likelihood(self.population(effect_sd, theta)).sum()
            off = (theta[:scalars] - self.mean) / self.sd
            effects = theta[scalars + shapes :]
            weights = torch.log_softmax(theta[scalars : scalars + shapes], 0)
            doubt = _SHAPE_LISTINGS * (usual @ weights) - 0.5 * (off @ off + effects @ effects)
            total: torch.Tensor = -(fit + doubt) / len(self.sums)
            (slope,) = torch.autograd.grad(total, theta)
            return float(total.detach()), slope.numpy()

        # scipy's, not torch's: at its first step that one imports a compiler, for a second or two
        # in which no other thread of Python runs
        found = minimize(
            loss,
            first.numpy(),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": iterations, "maxcor": 20, "ftol": 1e-9, "gtol": 1e-7},
        )
        return torch.from_numpy(found.x)


def _chosen(fit: _Fit, plain: torch.Tensor) -> tuple[dict[str, float], torch.Tensor]:
    """Blocks of traits that explain the sales, how far each moves log elasticity (one deviation),
    and about what its slopes are, in these deviations, one block's after the other's.

    Where a listing's log elasticity is expected f higher, its sales are g f − h f² / 2 nats more
    likely. With f = X w and w standard normal the slopes w integrate out (Bishop, "Pattern
    recognition and machine learning", 2006, eq. 4.137), and all sales together gain

        (Xᵀg)ᵀ A⁻¹ (Xᵀg) / 2 − log |A| / 2,    A = I + Xᵀ diag(h) X.

    Blocks are added one by one, while the best makes that higher by more than `_BETTER`.
    """
    chosen: dict[str, float] = {}
    slopes = torch.empty(0, dtype=torch.float64)
    if len(fit.sums) < _FEWEST:
        return chosen, slopes
    population = fit.population({}, plain)
    lower, here, higher = (
        fit.log_likelihood(replace(population, elasticity=population.elasticity + step))
        for step in (-_STEP, 0.0, _STEP)
    )
    g = (higher - lower) / (2.0 * _STEP)
    h = ((2.0 * here - lower - higher) / _STEP**2).clamp_min(0.0)
    blocks = {name: fit.standard(name) for name in fit.centre}

    def explained(effect_sd: Mapping[str, float]) -> tuple[float, torch.Tensor]:
        """What the sales gain, nats, and the most likely w."""
        x = torch.cat([blocks[name] * sd for name, sd in effect_sd.items()], dim=1)
        pull = x.T @ g
        precision = torch.eye(x.shape[1], dtype=x.dtype) + x.T @ (h[:, None] * x)
        w = torch.linalg.solve(precision, pull)
        return 0.5 * float(pull @ w - torch.logdet(precision)), w

    reached = 0.0
    while rest := [name for name in blocks if name not in chosen]:
        tried = [{**chosen, name: sd} for name in rest for sd in _EFFECT_SDS]
        found = [explained(effect_sd) for effect_sd in tried]
        best = max(range(len(tried)), key=lambda i: found[i][0])
        if not found[best][0] > reached + _BETTER:
            break
        chosen, (reached, slopes) = tried[best], found[best]
    return chosen, slopes
