"""A second opinion on each product's targets, from the words and the neighbours of others."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from finetune.probes import by_neighbours, by_words, grouped_folds
from finetune.products import Products

FOLDS = 10
FEWEST = 50
"""Products of which a target is known, below which nobody is asked for a second opinion."""

_PENALTY = 1.0  # of the ridge on words: what cross-validation chooses on Online Retail


def second_opinion(products: Products, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """What products of other groups say of each product's targets, (n, t).

    The mean of what TF-IDF with ridge and ten neighbours say, learned from nine tenths of the
    groups for the tenth that is asked about, and then scaled by least squares, so that an opinion
    that tells nothing is the mean. NaN where a target is unknown, or known of too few.

    Args:
        vectors: unit vectors of the encoder before training, (n, d).
    """
    found = np.full(products.target.shape, np.nan)
    for column, target in enumerate(products.target.T):
        rows = np.flatnonzero(~np.isnan(target))
        group = products.group[rows].astype(str).tolist()
        if len(rows) < FEWEST or len(set(group)) < FOLDS:
            continue
        y = target[rows]
        words = by_words([products.text[row] for row in rows], y, Ridge(_PENALTY))
        near = by_neighbours(vectors[rows], y)
        said = np.empty(len(rows))
        for asked in grouped_folds(group, FOLDS, 0):
            said[asked] = (words(~asked, asked) + near(~asked, asked)) / 2
        off = said - said.mean()
        slope = (off @ y) / max(off @ off, 1e-12)
        found[rows, column] = y.mean() + slope * off
    return found
