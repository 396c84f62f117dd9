"""Sample-ratio mismatch: do the units that arrived have the shares that were drawn, each time?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln
from scipy.stats import chi2

from evaluation.assignment import check_shares

CONCENTRATION = 100.0
"""Imagined units of the Dirichlet prior around the drawn shares: it looks for small shifts."""

STICKINESS = 0.5
"""Chance of staying that is looked for in units that recur: 18 repeats that all stay are found."""


def chi_square(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """p-value of Pearson's chi-square test, for one look only.

    Args:
        counts: arm -> units that arrived; an arm left out counts as 0.
        shares: arm -> share drawn, as `assign`.

    Raises:
        ValueError: bad shares, an unknown arm, a negative count, or no unit at all.
    """
    seen, drawn = _arrays(counts, shares)
    expected = seen.sum() * drawn
    return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), len(drawn) - 1))


def log_evidence(counts: NDArray[np.int64], shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log Bayes factor against the drawn shares, for every row of counts, float64 (...,).

    Formula: log Γ(c) / Γ(c + n) · Π Γ(c pₖ + nₖ) / Γ(c pₖ) − Σ nₖ log pₖ, the Dirichlet-multinomial
    against the multinomial (Lindon & Malek 2022, "Anytime-valid inference for multinomial count
    data"), c = `CONCENTRATION`. A martingale under the drawn shares: above 1/α ever with
    probability α at most.

    Args: counts: units of each arm, (..., arms). shares: (arms,).
    """
    prior = CONCENTRATION * shares
    total = counts.sum(-1)
    arms = gammaln(prior + counts) - gammaln(prior) - counts * np.log(shares)
    return np.asarray(gammaln(CONCENTRATION) - gammaln(CONCENTRATION + total) + arms.sum(-1))


def recurring_log_evidence(stays: NDArray[np.bool_], share: NDArray[np.float64]) -> float:
    """Log of a likelihood ratio: units keep the arm of their row before, or are drawn each time.

    Formula: Σ log((1 − κ) + κ [stays] / p), κ = `STICKINESS`: with chance κ a unit stays where it
    is, and is drawn anew otherwise. A martingale under draws, whatever the shares: above 1/α ever
    with probability α at most.

    Args: stays: of each row whose unit has an earlier one, (n,). share: of the row's arm, (n,).
    """
    return float(np.log1p(STICKINESS * (stays / share - 1)).sum())


def anytime_p_value(counts: Mapping[str, int], shares: Mapping[str, float]) -> float:
    """p-value that may be looked at after every unit: 1 / Bayes factor, at most 1.

    Args and raises: as `chi_square`. Looking only now and then is allowed, too.
    """
    seen, drawn = _arrays(counts, shares)
    return float(np.exp(-max(float(log_evidence(seen, drawn)), 0.0)))


def _arrays(
    counts: Mapping[str, int], shares: Mapping[str, float]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    check_shares(shares)
    for arm, count in counts.items():
        if arm not in shares:
            raise ValueError(f"counts names arm {arm!r}: give one of {sorted(shares)}")
        if count < 0:
            raise ValueError(f"counts[{arm!r}] is {count}: give 0 or more units")
    seen = np.array([counts.get(arm, 0) for arm in shares], np.int64)
    if not seen.sum():
        raise ValueError("counts is all zero: wait for the first unit")
    return seen, np.array(list(shares.values()), np.float64)
