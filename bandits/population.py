"""What the catalogue says of a listing's demand before the listing has sales of its own."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bandits.curves import DEFAULT_BANK, CurveBank
from bandits.dispersion import Chance

WORTH_SD = 0.3
"""Log error of a price that was charged as a measure of what buyers think the listing worth."""

ELASTICITY = 0.64
"""Log of 1.9: median of scanner panels."""

ELASTICITY_SD = 0.5
"""Spread of log elasticities: that of scanner panels, whose quartiles are 1.2 and 2.6. It is not
learned. Sales at nearly one price say little of it, buyers who follow no curve of the bank make it
look smaller, and a policy too sure of elasticities stops exploring."""

TYPICAL_SHAPE, SHAPE_SPREAD = 1.2, 0.8
"""Shape that demand is taken for before any sales, between exponential and linear, and its spread
on the log scale: constant elasticity over wide ranges of price is rare, and so are cliffs."""

_LEAST_MARGIN = 0.05  # of a price, that a shop is taken to live on

_FAINTEST, _STRONGEST = 0.02, 50.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of listings before they sell, one row each, float64.

    Attributes:
        guess: log guessed price − anchor, (n,).
        guess_sd: error of the guess as a guess of what would be charged, (n,); 0 where that is
            known.
        traits: blocks of features that elasticity may depend on, name → (n, q); a row of zeros
            where there is nothing.
    """

    guess: torch.Tensor
    guess_sd: torch.Tensor
    traits: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.guess)

    def take(self, rows: torch.Tensor) -> "Known":
        """The given rows."""
        traits = {name: block[rows] for name, block in self.traits.items()}
        return Known(self.guess[rows], self.guess_sd[rows], traits)


def implied(markup: float) -> float:
    """By how much more elastic than most a shop's buyers are expected to be where it earns little
    on a unit, log units.

    A price p is right at the elasticity p / (p − c) (Lerner 1934). Shops are not taken for knowing
    theirs so well, but nor for charging what buyers as elastic as most would make absurd: the
    expectation is at most `ELASTICITY_SD` below it.

    Args:
        markup: usual log(price / cost).
    """
    margin = max(-math.expm1(-markup), _LEAST_MARGIN)  # (p − c) / p
    return max(-math.log(margin) - ELASTICITY_SD - ELASTICITY, 0.0)


@dataclass(frozen=True, slots=True)
class Effect:
    """Effect of a block of traits on log elasticity: (x − centre)·slope, none where x is zero.

    Attributes:
        centre, slope: float64 (q,).
    """

    centre: torch.Tensor
    slope: torch.Tensor

    def of(self, block: torch.Tensor) -> torch.Tensor:
        """The effect on each row of a block (n, q), (n,)."""
        effect: torch.Tensor = block @ self.slope - self.centre @ self.slope
        return torch.where((block != 0).any(1), effect, 0.0)


@dataclass(frozen=True, slots=True)
class Population:
    r"""The distribution of demand curves among listings.

    Of a listing i, with v what buyers think it worth and e > 0 the elasticity there,

        log v ~ N(guess_i + shift, (guess_error guess_sd_i)² + worth_sd²),
        log e ~ N(elasticity + lean + Σ effects of its traits, elasticity_sd²),

    each shape κ of the bank as likely as `shapes` says, and units per impression at v Gamma with
    mean `level` and shape `level_shape`. A curve of shape κ has elasticity e at v if it is located
    at log v + log(2 / e) / κ, which makes the location normal too (`prior`).

    Learned by empirical Bayes (`bandits.empirical_bayes`), all but `elasticity_sd`, `lean` and
    `chance` (`bandits.dispersion`); the defaults hold until there is evidence. Fields are
    floats or 0-d tensors.

    Attributes:
        shapes: probability of each shape, (s,). guess_error: how large errors of guesses are, in
            multiples of what they are said to be. order_size, overdispersion: see `Chance`. lean:
            what the shop's usual markup says of elasticities, see `implied`. effects: block of
            traits → its effect.
        vocabulary: columns of the block "words", int64 (v,); none where it has no effect.
    """

    shapes: torch.Tensor
    shift: float | torch.Tensor = 0.0
    worth_sd: float | torch.Tensor = WORTH_SD
    elasticity: float | torch.Tensor = ELASTICITY
    elasticity_sd: float | torch.Tensor = ELASTICITY_SD
    level: float | torch.Tensor = 0.03
    level_shape: float | torch.Tensor = 2.5
    guess_error: float | torch.Tensor = 1.0
    order_size: float | torch.Tensor = 1.0
    overdispersion: float | torch.Tensor = 0.0
    lean: float | torch.Tensor = 0.0
    effects: Mapping[str, Effect] = field(default_factory=dict)
    vocabulary: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    @classmethod
    def default(cls, bank: CurveBank = DEFAULT_BANK) -> "Population":
        """Guess believed unbiased; shapes log-normal around `TYPICAL_SHAPE`."""
        far = torch.log(bank.kappa / TYPICAL_SHAPE) / SHAPE_SPREAD
        return cls(torch.softmax(-0.5 * far**2, 0))

    @property
    def chance(self) -> Chance:
        """How units vary around what is expected."""
        return Chance(float(self.order_size), float(self.overdispersion))

    def log_elasticity(self, known: Known) -> torch.Tensor:
        """Expected log elasticity at what each listing is worth, (n,)."""
        mean = torch.zeros_like(known.guess) + self.elasticity + self.lean
        for name, effect in self.effects.items():
            if name in known.traits:
                mean = mean + effect.of(known.traits[name])
        return mean


@dataclass(frozen=True, slots=True)
class Prior:
    """Belief about listings without sales.

    Attributes:
        log_weight: log probability of each hypothesis, (n, s, l).
        log_worth: expected log worth − anchor under each hypothesis, (n, s, l).
        at_worth: 1 / E[1 / f] of each hypothesis at what the listing is worth, (n, s, l): the
            level at which demand there is as expected.
        doubt: squared coefficient of variation of 1 / f there, (n, s, l).
    """

    log_weight: torch.Tensor
    log_worth: torch.Tensor
    at_worth: torch.Tensor
    doubt: torch.Tensor


def prior(bank: CurveBank, population: Population, known: Known) -> Prior:
    """Belief about listings of which no more is `known`.

    A curve may be located off the expected place because the guess is wrong about the worth, or
    because buyers are more or less elastic than expected. The first moves the worth with it, the
    second does not; they are weighed as variances (regression of one normal variable on a sum).
    """
    kappa = bank.kappa
    error = population.guess_error * known.guess_sd
    worth_variance = (error**2 + population.worth_sd**2)[:, None]  # (n, 1)
    off = math.log(bank.elasticity) - population.log_elasticity(known)
    expected = known.guess + population.shift
    location = expected[:, None] + off[:, None] / kappa  # (n, s)
    variance = worth_variance + population.elasticity_sd**2 / kappa**2  # (n, s)
    distance = bank.offsets - location[:, :, None]  # (n, s, l)
    log_weight = torch.log_softmax(-0.5 * distance**2 / variance[:, :, None], dim=2)
    log_weight = log_weight + torch.log(population.shapes)[:, None]
    share = worth_variance / variance  # (n, s)
    log_worth = expected[:, None, None] + share[:, :, None] * distance
    return Prior(log_weight, log_worth, *_at_worth(bank, log_worth, worth_variance * (1.0 - share)))


def _at_worth(
    bank: CurveBank, log_worth: torch.Tensor, doubt: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """1 / E[1 / f(v)] and the squared coefficient of variation of 1 / f(v), (n, s, l) each, for
    log v normal around `log_worth` with variance `doubt` (n, s).

    E[1 / f] = exp(−E[log f] + Var[log f] / 2) with the moments of log f: the mean exact, the
    variance by the slope at the mean.
    """
    kappa = bank.kappa[:, None]
    power = ((log_worth - bank.offsets).clamp(-6.0, 6.0) * kappa).exp()  # (n, s, l)
    raised = (0.5 * kappa[:, 0] ** 2 * doubt).clamp(max=4.0).exp()[:, :, None]
    mean = -bank.elasticity / kappa * (power * raised - 1.0)
    variance = (bank.elasticity * power) ** 2 * doubt[:, :, None]
    # far from the reference price steep curves fall to nothing, where nobody would sell at all
    curves = torch.exp((mean - 0.5 * variance).clamp(math.log(_FAINTEST), math.log(_STRONGEST)))
    return curves, torch.expm1(variance.clamp(max=2.0))
