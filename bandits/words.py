"""The words of a text as sparse features: what a price can be guessed from beside its meaning."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.amounts import differing

WORDS = 32
"""Words and pairs of words kept of a text."""

_HASHES = 1 << 18
_RIDGE = 0.5  # prior weight of a word, in texts of unit length
_FOLDS = 5
_FEWEST = 50  # priced texts from which words teach anything
_ITERATIONS = 60
_LEAST_SHARING, _FEWEST_SHARING, _MOST_SHARED = 0.01, 10, 200


def word_ids(texts: Sequence[str]) -> NDArray[np.int32]:
    """Hashes of the words and neighbouring pairs of words of each text, int32 (n, 32), -1 where
    there are fewer. Of a longer text the words with the lowest hashes stand for all.
    """
    # sklearn takes half a second to import, and most commands need no words
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(
        n_features=_HASHES, ngram_range=(1, 2), binary=True, norm=None, alternate_sign=False
    )
    ids = np.full((len(texts), WORDS), -1, np.int32)
    if not len(texts):
        return ids
    found = hashing.transform(texts)
    found.sort_indices()
    count = np.diff(found.indptr)
    place = np.arange(found.nnz) - np.repeat(found.indptr[:-1], count)
    kept = place < WORDS
    ids[np.repeat(np.arange(len(texts)), count)[kept], place[kept]] = found.indices[kept]
    return ids


def shared_words(ids: NDArray[np.int32]) -> NDArray[np.int64]:
    """Words that one text in a hundred holds, and ten texts, 200 at most: ascending hashes, (v,).

    Args:
        ids: as `word_ids`, (n, 32).
    """
    words, texts = np.unique(ids[ids >= 0], return_counts=True)
    often = texts >= max(_FEWEST_SHARING, _LEAST_SHARING * len(ids))
    words, texts = words[often], texts[often]
    kept = np.argsort(-texts, kind="stable")[:_MOST_SHARED]
    return np.sort(words[kept]).astype(np.int64)


def which_words(ids: NDArray[np.int32], vocabulary: NDArray[np.int64]) -> NDArray[np.float64]:
    """Which words of a vocabulary (v,) texts (n, 32) hold: rows of unit length, or 0, (n, v)."""
    held = np.zeros((len(ids), len(vocabulary)))
    if len(vocabulary):
        column = np.searchsorted(vocabulary, ids).clip(max=len(vocabulary) - 1)
        row, place = np.nonzero(vocabulary[column] == ids)
        held[row, column[row, place]] = 1.0
    return np.asarray(held / np.sqrt(np.maximum(held.sum(1, keepdims=True), 1.0)))


@dataclass(frozen=True, slots=True)
class WordPrices:
    """Ridge regression of log price on words, texts scaled to unit length, and log amounts.

    Attributes:
        mean: log price of a text without known words. weight: of each hash, (2^18,).
        usual: log amount of each kind that counts as none, (2,). slope: of log price in each, (2,).
    """

    mean: float
    weight: NDArray[np.float64]
    usual: NDArray[np.float64]
    slope: NDArray[np.float64]

    @classmethod
    def fit(
        cls, ids: NDArray[np.int32], amount: NDArray[np.float64], log_price: NDArray[np.float64]
    ) -> "WordPrices":
        """Fit to texts (n, 32), their log amounts (n, 2), NaN where unsaid, and their log prices
        (n,), n at least 1.
        """
        from scipy.sparse import csr_matrix, hstack
        from scipy.sparse.linalg import lsqr

        row, place = np.nonzero(ids >= 0)
        length = np.maximum((ids >= 0).sum(1), 1)
        words = csr_matrix(
            (1.0 / np.sqrt(length[row]), (row, ids[row, place])), (len(ids), _HASHES)
        )
        said = ~np.isnan(amount)
        usual = np.where(said, amount, 0.0).sum(0) / np.maximum(said.sum(0), 1)
        design = hstack([words, csr_matrix(differing(amount, usual))]).tocsr()
        mean = float(log_price.mean())
        found = lsqr(design, log_price - mean, damp=_RIDGE**0.5, iter_lim=_ITERATIONS)[0]
        return cls(mean, found[:_HASHES], usual, found[_HASHES:])

    def predict(self, ids: NDArray[np.int32], amount: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log price by words (n, 32) and amounts (n, 2), (n,); NaN for a text without words."""
        known = ids >= 0
        length = known.sum(1)
        total = np.where(known, self.weight[np.where(known, ids, 0)], 0.0).sum(1)
        price = self.mean + total / np.sqrt(np.maximum(length, 1))
        more = differing(amount, self.usual) @ self.slope
        return np.where(length > 0, price + more, np.nan)


def held_out(
    ids: NDArray[np.int32],
    amount: NDArray[np.float64],
    log_price: NDArray[np.float64],
    group: NDArray[np.int64],
) -> NDArray[np.float64]:
    """What words say of each text's log price to one who knows the other groups' prices, (n,).

    Variants of one product share a group, or words would seem to tell more than they do of the
    next product. NaN where fewer than 50 texts are left to learn from.
    """
    fold = (group * 2654435761 >> 7) % _FOLDS
    predicted = np.full(len(ids), np.nan)
    for number in range(_FOLDS):
        out = fold == number
        if out.any() and (~out).sum() >= _FEWEST:
            model = WordPrices.fit(ids[~out], amount[~out], log_price[~out])
            predicted[out] = model.predict(ids[out], amount[out])
    return predicted
