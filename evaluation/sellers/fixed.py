"""Sellers that set a price once: what the listing was sold for, or cost and a markup."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.protocol import Floats, Sales, Today
from markets import Knowledge


class Fixed:
    """The reference price where it is known, else the guessed price, for ever."""

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        guess = np.exp(knowledge.guess)
        known = np.isfinite(knowledge.reference)
        self._price = np.where(known, knowledge.reference, guess)

    def price(self, today: Today) -> Floats:
        """The price it always has."""
        prices: Floats = self._price[today.rows]
        return prices

    def learn(self, sales: Sales) -> None:
        """Nothing to learn."""


class CostPlus(Fixed):
    """Cost times the catalogue's median markup; where no cost is known, the guessed price."""

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        super().__init__(knowledge, seed)
        cost, reference = knowledge.unit_cost, knowledge.reference
        markups = (reference / cost)[np.isfinite(reference) & (cost > 0)]
        if markups.size:
            plus = cost * np.median(markups)
            self._price = np.where(np.isfinite(plus), plus, self._price)
