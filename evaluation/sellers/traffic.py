"""Impressions a day of every listing, as far as they are known."""

from __future__ import annotations

import numpy as np

from evaluation.sellers.protocol import Floats, Ints, Sales

_MEAN, _SHAPE, _SHAPES = 50.0, 0.5, (0.3, 4.0)  # before anything is shown; ends of what is learned


class Traffic:
    """A Gamma belief of each listing's mean impressions a day.

    The spread of the listings seen for days is the prior of all, by moments of the logarithm.

    Attributes:
        shown: impressions so far, (n,). days: on which there were any, (n,).
    """

    def __init__(self, listings: int) -> None:
        self.shown, self.days = np.zeros((2, listings))

    def add(self, sales: Sales) -> None:
        """Count a day's impressions."""
        np.add.at(self.shown, sales.rows, sales.impressions)
        np.add.at(self.days, sales.rows, sales.impressions > 0)

    def mean(self, rows: Ints) -> Floats:
        """Impressions of each listing's days so far, NaN without any, (m,)."""
        days = self.days[rows]
        return np.where(days > 0.0, self.shown[rows] / np.maximum(days, 1.0), np.nan)

    def belief(self, rows: Ints) -> tuple[Floats, Floats]:
        """Shape and rate of the Gamma distribution of each listing, (m,) each."""
        seen = (self.days > 0.0) & (self.shown > 0.0)
        mean, shape = _MEAN, _SHAPE
        if seen.sum() > 1:
            log_mean = np.log(self.shown[seen] / self.days[seen])
            mean = float(np.exp(log_mean.mean() + log_mean.var() / 2))
            shape = float(np.clip(1.0 / np.expm1(log_mean.var() + 1e-9), *_SHAPES))
        return shape + self.shown[rows], shape / mean + self.days[rows]
