"""What models learn from: what is known of a listing for ever, and what its own sales say."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from evaluation.sellers.protocol import Floats, Ints
from evaluation.sellers.tally import Tally
from markets import Knowledge

_OWN_UNITS = 3.0  # units that the shop's level weighs against a listing's own
_OWN_SLOPE = 1.0  # standard deviation of slopes around `ELASTICITY`


def attributes(knowledge: Knowledge, components: int) -> Floats:
    """What is known of each listing for ever, standardised, (n, 3 + components or fewer).

    Guessed log price, log of cost over guess (0 where unknown), similarity of the nearest listing,
    principal components of the texts. Not how sure the guess is: that is one number for all
    listings with a past and another for the new, and models learn from the former.
    """
    n, d = knowledge.vectors.shape
    share = np.where(knowledge.unit_cost > 0.0, knowledge.unit_cost, np.nan) / np.exp(
        knowledge.guess
    )
    similarity = np.nan_to_num(knowledge.similarity[:, :1])
    parts = [knowledge.guess[:, None], np.log(share)[:, None]]
    most = min(components, n - 1, d)
    if most > 0:
        texts = PCA(most, svd_solver="randomized", random_state=0).fit_transform(knowledge.vectors)
        similarity = np.column_stack([similarity, texts])
    raw = np.column_stack([*parts, similarity]).astype(np.float64)
    known = np.isfinite(raw)
    filled = np.where(known, raw, 0.0)
    count = np.maximum(known.sum(axis=0), 1)
    mean = filled.sum(axis=0) / count
    off = np.where(known, raw - mean, 0.0)
    sd = np.sqrt((off**2).sum(axis=0) / count)
    standardised: Floats = off / np.where(sd > 1e-9, sd, 1.0)
    return standardised


def own_sales(tally: Tally, rows: Ints) -> Floats:
    """What a listing's own sales say, (m, 3): log of its level against the typical listing's,
    how much steeper its demand falls, and log(1 + units).

    One Newton step each from the typical curve d(r) = level exp(-`ELASTICITY` (r - 1)), with
    a Gamma prior for the level and a normal one for the slope, units being Poisson.
    """
    shown, units, ratio = tally.impressions[rows], tally.units[rows], tally.ratio[rows]
    exposure = shown * tally.typical(rows)
    total = units.sum(axis=1)
    level = (total + _OWN_UNITS) / (exposure.sum(axis=1) + _OWN_UNITS)
    expected = level[:, None] * exposure
    centre = (expected * ratio).sum(axis=1) / np.maximum(expected.sum(axis=1), 1e-12)
    away = np.where(shown > 0.0, ratio - centre[:, None], 0.0)
    steeper = -((units - expected) * away).sum(axis=1)
    steeper /= (expected * away**2).sum(axis=1) + _OWN_SLOPE**-2
    return np.column_stack([np.log(level), steeper, np.log1p(total)])
