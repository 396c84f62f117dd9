"""Titles as vectors by their words alone: what a simulated market calls similar."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

_DIM = 64
_CLUSTERS = 40
_CLUSTER_SIZE = 10
_BLOCK = 2048


def text_vectors(titles: Sequence[str]) -> npt.NDArray[np.float32]:
    """Latent semantic analysis of words and pairs of words, rows of unit length or zero, (n, d).

    Deerwester et al., "Indexing by latent semantic analysis", JASIS 1990. d is 64, or what the
    titles give. An encoder's embeddings take their place where a policy has one.
    """
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")
    counts = words.fit_transform([title.strip() or "-" for title in titles])  # (n, words)
    dim = min(_DIM, counts.shape[0] - 1, counts.shape[1] - 1)
    if dim < 1:
        return np.ones((len(titles), 1), np.float32)
    vectors = TruncatedSVD(dim, random_state=0).fit_transform(counts)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (vectors / np.where(length > 0, length, 1.0)).astype(np.float32)
    return unit


def clusters(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Groups of similar titles, numbered from 0, int64 (n,): 40, or one for every ten listings."""
    count = max(1, min(_CLUSTERS, len(vectors) // _CLUSTER_SIZE))
    groups = MiniBatchKMeans(count, random_state=0, n_init=3).fit_predict(vectors)
    return np.asarray(groups, np.int64)


def nearest(
    vectors: npt.NDArray[np.float32],
    among: npt.NDArray[np.bool_],
    count: int,
    apart: npt.NDArray[Any],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The most similar listings among some of them, nearest first.

    Args:
        vectors: of unit length, or zero where there is no text, float32 (n, d): what has no text
            has no neighbours, and is none. among: bool (n,).
        apart: listings with the same value are not counted as each other's, (n,).

    Returns:
        Rows, int64 (n, count), and cosines, (n, count), NaN where there are fewer.
    """
    rows = np.zeros((len(vectors), count), np.int64)
    cosines = np.full(rows.shape, np.nan)
    there: npt.NDArray[np.bool_] = np.asarray(vectors.any(axis=1))
    places = np.flatnonzero(among & there)
    found = min(count, places.size)
    _, number = np.unique(apart, return_inverse=True)
    for start in range(0, len(vectors) if found else 0, _BLOCK):
        part = slice(start, start + _BLOCK)
        near = (vectors[part] @ vectors[places].T).astype(np.float64)  # (block, places)
        near[number[part, None] == number[None, places]] = -np.inf
        near[~there[part]] = -np.inf
        top = np.argpartition(-near, found - 1, axis=1)[:, :found]
        value = np.take_along_axis(near, top, axis=1)
        order = np.argsort(-value, axis=1, kind="stable")
        rows[part, :found] = places[np.take_along_axis(top, order, axis=1)]
        value = np.take_along_axis(value, order, axis=1)
        cosines[part, :found] = np.where(np.isfinite(value), value, np.nan)
    return rows, cosines
