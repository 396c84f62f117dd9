"""How well guesses of worth hold in each category, by what its listings' own sales say."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bandits.evidence import Posterior

_LISTINGS = 10.0
"""Listings' worth of trust that a category's guesses have before any of its sales."""

_MOST = 9.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """Factor on the variance of guesses by category: 1 where sales bear them out, up to 9.

    A guess that is systematically off where it claims to be sure costs more than none: the prior
    is then widened until what own sales say of worth is no longer surprising.

    Attributes:
        doubt: factor of each category, (categories,).
    """

    doubt: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))

    @classmethod
    def learn(cls, category: NDArray[np.int64], before: Posterior, after: Posterior) -> "Alignment":
        """Watch guesses against sales.

        Formula: mean over a category's listings of ((m₁ − m₀)² + s₁²) / s₀², with mean and standard
        deviation of log worth before (0) and after (1) own sales; 1 in the mean where the prior is
        right, and where nothing has been sold.

        Args:
            category: codes, -1 without one, int64 (m,). before: beliefs without own sales, after:
                with them.
        """
        known = category >= 0
        if not known.any():
            return cls()
        (m0, s0), (m1, s1) = (
            tuple(t.numpy() for t in belief.worth()) for belief in (before, after)
        )
        ratio = ((m1 - m0) ** 2 + s1**2) / np.maximum(s0, 1e-6) ** 2
        count = np.bincount(category[known])
        total = np.bincount(category[known], np.minimum(ratio[known], 10 * _MOST))
        return cls(np.clip((total + _LISTINGS) / (count + _LISTINGS), 1.0, _MOST))

    def of(self, category: NDArray[np.int64]) -> NDArray[np.float64]:
        """Factors of listings by category, (n,); 1 where nothing is known."""
        if not len(self.doubt):
            return np.ones(len(category))
        known = (category >= 0) & (category < len(self.doubt))
        return np.where(known, self.doubt[np.where(known, category, 0)], 1.0)
