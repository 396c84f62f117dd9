"""Probes: how much of a target (log price, log demand) text tells about unseen products.

An encoder is worth its tuning where these figures rise, on folds that keep the variants of one
product together.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold

from bandits import GuessModel, Sources, amounts, word_ids
from bandits.guesses import SHARPNESS
from encoders.rows import load_faiss

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Predict = Callable[[Mask, Mask], Floats]
"""From rows learned from and rows asked for, bool (n,) each, to predictions of the latter."""

PENALTIES = np.logspace(-2, 2, 9)
"""Ridge penalties tried inside each training fold."""

NEIGHBOURS = 10

_FOLDS = 5  # in which ridge's penalty is chosen
_SEARCHED = 200  # products of other groups among which ten groups are looked for
_FITTED = 20_000  # products that a policy's guess is fitted to, as a service fits it


@dataclass(frozen=True, slots=True)
class Probe:
    """Out-of-fold predictions of a target.

    Attributes:
        name: of the method. predicted: (n,), each from folds without the row's group.
        r2: share of the target's variance that they explain.
    """

    name: str
    predicted: Floats
    r2: float


def grouped_folds(groups: Sequence[str], folds: int) -> Iterator[NDArray[np.bool_]]:
    """Masks of the held-out rows, bool (n,), one for each fold; no group stands on both sides.

    Groups are dealt to folds in turn, the largest first and else by name: products that came
    together, and have neighbouring codes, are in different folds, as a new listing's likes are on
    sale already.

    Raises:
        ValueError: fewer groups than folds.
    """
    names, codes = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        raise ValueError(f"folds is {folds}, groups are {len(names)}: ask for fewer folds")
    for _, held in GroupKFold(folds).split(codes, groups=codes):
        yield np.asarray(np.isin(np.arange(len(codes)), held))


def lexical_probe(
    texts: Sequence[str], target: Floats, groups: Sequence[str], folds: int = 5
) -> Probe:
    """TF-IDF of words and pairs of words, then ridge: the baseline that is hard to beat."""
    return _probe("TF-IDF, ridge", by_words(texts, target, groups), target, groups, folds)


def embedding_probes(
    vectors: NDArray[np.float32],
    target: Floats,
    groups: Sequence[str],
    folds: int = 5,
) -> list[Probe]:
    """Ridge, and ten nearest neighbours by cosine, on unit vectors (n, d)."""
    return [
        _probe("embedding, ridge", by_ridge(vectors, target, groups), target, groups, folds),
        _probe(
            "embedding, neighbours", by_neighbours(vectors, target, groups), target, groups, folds
        ),
    ]


def by_words(texts: Sequence[str], target: Floats, groups: Sequence[str]) -> Predict:
    """TF-IDF of words and pairs of words, then ridge; the mean where no text has a word."""
    rows, codes = np.asarray(texts, object), _codes(groups)

    def predict(train: Mask, test: Mask) -> Floats:
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        try:
            known = words.fit_transform(rows[train])
        except ValueError:  # how it says that there is none
            return np.full(int(test.sum()), target[train].mean())
        model = _ridge(known, target[train], codes[train])
        return np.asarray(model.predict(words.transform(rows[test])))

    return predict


def by_ridge(vectors: NDArray[np.float32], target: Floats, groups: Sequence[str]) -> Predict:
    """Ridge on vectors (n, d)."""
    codes = _codes(groups)

    def predict(train: Mask, test: Mask) -> Floats:
        model = _ridge(vectors[train], target[train], codes[train])
        return np.asarray(model.predict(vectors[test]))

    return predict


def by_neighbours(vectors: NDArray[np.float32], target: Floats, groups: Sequence[str]) -> Predict:
    """Ten nearest neighbours by cosine on unit vectors (n, d), each of another group: what ten
    variants of one product cost is one opinion. Weighed as a policy weighs them.
    """
    codes = _codes(groups)

    def predict(train: Mask, test: Mask) -> Floats:
        known = np.flatnonzero(train)
        faiss = load_faiss()
        cosine, near = faiss.knn(
            vectors[test], vectors[known], min(_SEARCHED, len(known)), faiss.METRIC_INNER_PRODUCT
        )
        first = _first_of_each(codes[known[near]])
        counts = first & (np.cumsum(first, axis=1) <= NEIGHBOURS)
        weight = counts * np.exp(SHARPNESS * (cosine - cosine[:, :1]))
        shares = weight / weight.sum(1, keepdims=True)
        return np.asarray((shares * target[known[near]]).sum(1))

    return predict


def by_policy(
    texts: Sequence[str],
    vectors: NDArray[np.float32],
    log_price: Floats,
    groups: Sequence[str],
    trained_on: Mask | None = None,
) -> Predict:
    """What a policy guesses of log prices: by neighbours of other groups on unit vectors (n, d),
    at the product's own amount, and by words.

    Args:
        trained_on: products that the vectors were fitted to, bool (n,): those who are not among
            the products learned from tell how far neighbours are to be trusted.
    """
    codes, words = _codes(groups), word_ids(texts)
    amount = amounts(texts).astype(np.float64)

    def predict(train: Mask, test: Mask) -> Floats:
        known = np.flatnonzero(train)
        drawn = np.random.default_rng(0).permutation(known)[:_FITTED]
        rows = np.concatenate([drawn, np.flatnonzero(test)])
        cosine, near = _of_other_groups(vectors, rows, known, codes)
        charged = np.where(train, log_price, np.nan)
        sources = Sources(
            charged[rows],
            np.full(len(rows), np.nan),
            charged[near],
            np.full(near.shape, np.nan),
            cosine,
            words[rows],
            amount[rows],
            amount[near],
            codes[rows],
            None if trained_on is None else trained_on[rows],
        )
        fitted = np.arange(len(rows)) < len(drawn)
        return GuessModel.fit(sources.take(fitted)).guess(sources.take(~fitted))[0]

    return predict


def in_halves(predict: Predict, train: Mask, test: Mask, groups: Sequence[str]) -> Floats:
    """Predictions of the rows of `test`, each half of their groups asked for while the other is
    known, too: what vectors were not fitted to tells a policy how far they are to be trusted.
    """
    codes = _codes(groups)
    names = np.random.default_rng(0).permutation(np.unique(codes[test]))
    first = test & np.isin(codes, names[: len(names) // 2])
    predicted = np.full(len(codes), np.nan)
    for asked in (first, test & ~first):
        if asked.any():
            predicted[asked] = predict(train | (test & ~asked), asked)
    return predicted[test]


def _of_other_groups(
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    known: NDArray[np.int64],
    codes: NDArray[np.int64],
) -> tuple[Floats, NDArray[np.int64]]:
    """The ten most similar of the known rows, of other groups than a row's own: cosines, NaN where
    there are fewer, and rows, (m, 10) each.
    """
    faiss = load_faiss()
    cosine, found = faiss.knn(
        vectors[rows], vectors[known], min(_SEARCHED, len(known)), faiss.METRIC_INNER_PRODUCT
    )
    near = known[found]
    own = codes[near] == codes[rows, None]
    first = np.argsort(own, axis=1, kind="stable")[:, :NEIGHBOURS]
    told = np.where(own, np.nan, cosine)
    return np.take_along_axis(told, first, 1), np.take_along_axis(near, first, 1)


def _ridge(x: Any, target: Floats, codes: NDArray[np.int64]) -> RidgeCV:
    """Ridge with the penalty that does best on groups left out: among the likes of its own product
    a word, or a direction of an embedding, is believed too far.
    """
    count = min(_FOLDS, len(np.unique(codes)))
    left_out = GroupKFold(count).split(x, groups=codes) if count > 1 else None
    return RidgeCV(PENALTIES, cv=left_out).fit(x, target)


def _first_of_each(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a row's code stands nowhere before it in the row, bool (n, c)."""
    order = np.argsort(codes, axis=1, kind="stable")
    ranked = np.take_along_axis(codes, order, 1)
    new = np.diff(ranked, axis=1, prepend=-1) != 0
    first = np.empty(codes.shape, np.bool_)
    np.put_along_axis(first, order, new, 1)
    return first


def _codes(groups: Sequence[str]) -> NDArray[np.int64]:
    return np.asarray(np.unique(np.asarray(groups), return_inverse=True)[1], np.int64)


def _probe(name: str, predict: Predict, target: Floats, groups: Sequence[str], folds: int) -> Probe:
    predicted = np.full(len(target), np.nan)
    for held_out in grouped_folds(groups, folds):
        predicted[held_out] = predict(~held_out, held_out)
    return Probe(name, predicted, float(r2_score(target, predicted)))
