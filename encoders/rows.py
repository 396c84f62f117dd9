"""The rows in memory: one FAISS flat index that is both the store and the exact search.

A slot id is a row's place in the index. Slots are never reused: an id that a caller holds never
comes to mean another text.
"""

from collections.abc import Iterable
from importlib import import_module
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "bitmap_selector", "load_faiss"]


_MANY_QUERIES = 20
"""Queries from which gathering the rows they may find costs less than a selector does."""

_MULTIPLIED = 8_000
"""Queries times dimensions from which a search is a product of matrices, ten times as fast: FAISS
waits for sixteen times as many."""


class Rows:
    """Keys, vectors and which of them are alive. Not thread-safe; the cache holds its lock."""

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.keys: list[bytes] = []
        self._slot_of: dict[bytes, int] = {}
        self._alive = np.zeros(1024, bool)
        self._flat: Any = load_faiss().IndexFlatIP(dim)

    def __len__(self) -> int:
        """Slots given out, the dead included."""
        return len(self.keys)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Bool (slots,), a view: valid until rows are added."""
        return self._alive[: len(self.keys)]

    @property
    def alive_count(self) -> int:
        """Number of rows that are not deleted."""
        return len(self._slot_of)

    def find(self, keys: Iterable[bytes], n: int) -> NDArray[np.int64]:
        """Slots of n keys in one pass: int64 (n,), -1 where absent."""
        return np.fromiter(map(self._slot_of.get, keys, repeat(-1)), np.int64, n)

    def add(self, keys: list[bytes], vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Add the rows whose keys are absent; the slots that are new, int64 (m,)."""
        slot_of, first = self._slot_of, len(self.keys)
        new = []
        for row, key in enumerate(keys):
            if key not in slot_of:
                slot_of[key] = len(self.keys)
                self.keys.append(key)
                new.append(row)
        while len(self._alive) < len(self.keys):
            self._alive = np.concatenate([self._alive, np.zeros(len(self._alive), bool)])
        self._alive[first : len(self.keys)] = True
        if new:
            some = vectors if len(new) == len(keys) else vectors[new]
            self._flat.add(np.ascontiguousarray(some, np.float32))
        return np.arange(first, len(self.keys), dtype=np.int64)

    def kill(self, keys: Iterable[bytes]) -> int:
        """Delete rows by key; how many there were."""
        slots = [self._slot_of.pop(key) for key in keys if key in self._slot_of]
        self._alive[slots] = False
        return len(slots)

    def keep_only(self, keys: Iterable[bytes]) -> None:
        """Delete every row whose key is not among ``keys``."""
        self.kill(list(self._slot_of.keys() - set(keys)))

    def vectors(self, slots: NDArray[np.int64]) -> NDArray[np.float32]:
        """A copy of rows: float32 (n, d)."""
        return np.asarray(self._view()[slots])

    def _view(self) -> NDArray[np.float32]:
        # FAISS owns the only copy; this looks into it and dies with the next add.
        n = len(self.keys)
        if not n:
            return np.empty((0, self.dim), np.float32)
        flat = load_faiss().rev_swig_ptr(self._flat.get_xb(), n * self.dim)
        return np.asarray(flat).reshape(n, self.dim)

    def search(
        self, queries: NDArray[np.float32], k: int, chosen: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Exact inner products, best first, among slots where ``chosen`` (slots,) is True.

        ``k`` is at most the number chosen.
        """
        faiss = load_faiss()
        count = int(chosen.sum())
        if 4 * count < len(chosen) or (count < len(chosen) and len(queries) >= _MANY_QUERIES):
            # Few of many, or many queries: gathering rows is cheaper than asking the selector about
            # each, which keeps FAISS from multiplying blocks.
            slots = np.flatnonzero(chosen)
            scores, found = faiss.knn(
                queries, self._view()[slots], k, metric=faiss.METRIC_INNER_PRODUCT
            )
            return scores, slots[found]
        params = None
        if count < len(chosen):
            params = faiss.SearchParameters(sel=bitmap_selector(chosen))
        scores, found = self._flat.search(queries, k, params=params)
        return scores, found


def load_faiss() -> Any:
    """FAISS, imported when first needed; untyped, for its stubs lack its Python wrappers."""
    faiss: Any = import_module("faiss")
    # from so many queries times dimensions on, it multiplies blocks of queries with blocks of rows;
    # releases before 1.15 count queries alone, and their 20 is right
    faiss.cvar.distance_compute_blas_threshold = min(
        faiss.cvar.distance_compute_blas_threshold, _MULTIPLIED
    )
    return faiss


def bitmap_selector(chosen: NDArray[np.bool_]) -> Any:
    """A FAISS id selector that lets through the ids where ``chosen`` is True."""
    return load_faiss().IDSelectorBitmap(np.packbits(chosen, bitorder="little"))
