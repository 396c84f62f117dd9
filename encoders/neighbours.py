"""The search over cached rows: exact where it can be, by inverted lists where it must.

One rule: a search among at most ``EXACT_ROWS`` rows is exact, whether the catalogue is small or
the caller asked among few. Above, :class:`encoders.index.ListIndex` proposes rows, and those are
scored exactly.
"""

import threading

import numpy as np
from numpy.typing import NDArray

from encoders.index import ListIndex, sample_size
from encoders.rows import Rows

__all__ = ["EXACT_ROWS", "Neighbours"]

EXACT_ROWS = 50_000
_QUERIES_AT_ONCE = 256
_ROWS_AT_ONCE = 32_768

Found = tuple[NDArray[np.float32], NDArray[np.int64]]


class Neighbours:
    """Searches ``rows``, which ``lock`` guards; keeps its lists in step with them."""

    def __init__(self, rows: Rows, lock: threading.Lock, lists: ListIndex | None) -> None:
        self._rows = rows
        self._lock = lock
        self._lists = lists
        self._building = threading.Lock()
        with lock:
            self.extend()

    @property
    def lists(self) -> ListIndex | None:
        """The inverted lists, once a search needed them."""
        return self._lists

    def extend(self) -> None:
        """Give the lists the rows they lack; the caller holds the lock."""
        if self._lists is None:
            return
        for start in range(len(self._lists), len(self._rows), _ROWS_AT_ONCE):
            stop = min(start + _ROWS_AT_ONCE, len(self._rows))
            self._lists.add(self._rows.vectors(np.arange(start, stop)))

    def build_if_due(self) -> bool:
        """Build the lists when first needed and when rows have doubled since; whether it did.

        One thread builds, holding the lock only to copy rows out; others search without.
        """
        if not self._building.acquire(blocking=False):
            return False
        try:
            with self._lock:
                rows = len(self._rows)
                trained = 0 if self._lists is None else self._lists.trained_rows
                if self._rows.alive_count <= EXACT_ROWS or rows < 2 * trained:
                    return False
            self._build(rows)
            return True
        finally:
            self._building.release()

    def search(
        self, vectors: NDArray[np.float32], k: int, among: NDArray[np.int64] | None
    ) -> Found:
        """Cosines float32 (q, k) and slots int64 (q, k), best first, padded with -inf and -1.

        Raises:
            ValueError: ``k`` below 1, a shape that is not (q, d), or a value that is not finite.
        """
        queries = _directions(vectors, self._rows.dim)
        if k < 1:
            raise ValueError(f"k is {k}; give 1 or more")
        scores = np.full((len(queries), k), -np.inf, np.float32)
        slots = np.full((len(queries), k), -1, np.int64)
        for start in range(0, len(queries), _QUERIES_AT_ONCE):
            some = slice(start, start + _QUERIES_AT_ONCE)
            # The lock is let go between blocks, so that a long search does not hold up embedding.
            with self._lock:
                chosen = self._chosen(among)
                count = int(chosen.sum())
                width = min(k, count)
                if width == 0:
                    break
                if count <= EXACT_ROWS or self._lists is None:
                    found = self._rows.search(queries[some], width, chosen)
                else:
                    found = self._by_lists(self._lists, queries[some], width, chosen)
            scores[some, :width], slots[some, :width] = found
        return scores, slots

    def _chosen(self, among: NDArray[np.int64] | None) -> NDArray[np.bool_]:
        alive = self._rows.alive
        if among is None:
            return alive
        asked = np.asarray(among, np.int64).ravel()
        chosen = np.zeros(len(alive), bool)
        chosen[asked[(asked >= 0) & (asked < len(alive))]] = True
        return chosen & alive

    def _by_lists(
        self, lists: ListIndex, queries: NDArray[np.float32], k: int, chosen: NDArray[np.bool_]
    ) -> Found:
        """Candidates from the lists, scored by their float32 rows: (q, k) each."""
        width = min(2 * k + 16, int(chosen.sum()))
        found = lists.candidates(queries, width, chosen)  # (q, width)
        rows = self._rows.vectors(np.maximum(found, 0).ravel()).reshape(*found.shape, -1)
        scores = np.einsum("qd,qwd->qw", queries, rows)
        scores[found < 0] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        scores, slots = np.take_along_axis(scores, best, 1), np.take_along_axis(found, best, 1)
        # The lists probed may hold fewer than k of the chosen; such a query is searched in full.
        short = np.flatnonzero(slots[:, -1] < 0)
        if short.size:
            scores[short], slots[short] = self._rows.search(queries[short], k, chosen)
        return scores, slots

    def _build(self, rows: int) -> None:
        chance = np.random.default_rng(rows)
        picks = np.sort(chance.choice(rows, sample_size(rows), replace=False))
        with self._lock:
            sample = self._rows.vectors(picks)
        lists = ListIndex.train(sample, rows)
        while len(lists) < rows:
            span = np.arange(len(lists), min(len(lists) + _ROWS_AT_ONCE, rows))
            with self._lock:
                some = self._rows.vectors(span)
            lists.add(some)
        with self._lock:
            self._lists = lists
            self.extend()


def _directions(vectors: NDArray[np.float32], dim: int) -> NDArray[np.float32]:
    """Unit rows (q, d); a zero row stays zero and is equally unlike everything."""
    queries = np.array(vectors, np.float32, order="C")
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise ValueError(f"vectors have shape {queries.shape}, not (q, {dim})")
    norms = np.linalg.norm(queries, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise ValueError(f"vectors[{int(np.argmin(np.isfinite(norms)))}] is not finite")
    return np.asarray(queries / np.where(norms > 0, norms, 1), np.float32)
