"""The approximate index for large catalogues: inverted lists over 8-bit codes, scored exactly.

The lists propose candidates from one byte per dimension; the caller scores them against the
float32 rows. So memory is 1.25 times that of the rows, scores are exact, and what is approximate
is only which rows were looked at. Measured recall stands in ``docs/encoders.md``.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.rows import bitmap_selector, load_faiss
from encoders.segments import write_whole

__all__ = ["ListIndex"]

_MAGIC = b"PBLIST01"
_HEAD_BYTES = 8 + 8 + 32
_POINTS_PER_LIST = 48
_PROBES = 48


class ListIndex:
    """Inverted lists over slots 0..n-1. Not thread-safe; the cache holds its lock.

    Attributes:
        trained_rows: how many rows there were when the lists' centres were chosen.
    """

    def __init__(self, ivf: Any, trained_rows: int) -> None:
        self._ivf = ivf
        self.trained_rows = trained_rows

    def __len__(self) -> int:
        return int(self._ivf.ntotal)

    @classmethod
    def train(cls, sample: NDArray[np.float32], rows: int) -> "ListIndex":
        """An empty index whose centres are chosen for ``rows`` rows like those of ``sample``."""
        faiss = load_faiss()
        dim = sample.shape[1]
        lists = lists_for(rows)
        ivf = faiss.IndexIVFScalarQuantizer(
            faiss.IndexFlatIP(dim),
            dim,
            lists,
            faiss.ScalarQuantizer.QT_8bit,
            faiss.METRIC_INNER_PRODUCT,
        )
        ivf.cp.spherical = True
        ivf.cp.max_points_per_centroid = _POINTS_PER_LIST
        ivf.train(sample)
        return cls(ivf, rows)

    def add(self, vectors: NDArray[np.float32]) -> None:
        """Append rows: they get the next slots."""
        self._ivf.add(np.ascontiguousarray(vectors))

    def candidates(
        self, queries: NDArray[np.float32], k: int, chosen: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Slots likely nearest, among ``chosen``: int64 (q, k), -1 where there are fewer."""
        faiss = load_faiss()
        sel = None if chosen.all() else bitmap_selector(chosen)
        params = faiss.SearchParametersIVF(sel=sel, nprobe=min(_PROBES, self._ivf.nlist))
        _, found = self._ivf.search(queries, k, params=params)
        return np.asarray(found)

    def _parts(self, keys: list[bytes]) -> Iterator[bytes | memoryview]:
        """The index as a file's parts, stamped with the keys of the rows that it covers."""
        faiss = load_faiss()
        payload = faiss.serialize_index(self._ivf)
        head = _MAGIC + self.trained_rows.to_bytes(8, "little") + _stamp(keys[: len(self)])
        digest = hashlib.sha256(head)
        digest.update(payload.data)
        yield head
        yield payload.data
        yield digest.digest()

    def save(self, path: Path, keys: list[bytes]) -> None:
        """Write the index to a file, whole or not at all.

        Raises:
            OSError: the disk refused.
        """
        write_whole(path, self._parts(keys))

    @classmethod
    def load(cls, path: Path, keys: list[bytes]) -> "ListIndex | None":
        """The saved index if it is whole and covers the first of ``keys`` in order, else None."""
        faiss = load_faiss()
        try:
            raw = np.fromfile(path, np.uint8)
        except OSError:
            return None
        head, payload = raw[:_HEAD_BYTES].tobytes(), raw[_HEAD_BYTES:-32]
        if raw.size <= _HEAD_BYTES + 32 or head[:8] != _MAGIC:
            return None
        if hashlib.sha256(raw[:-32].data).digest() != raw[-32:].tobytes():
            return None
        ivf = faiss.deserialize_index(payload)
        if ivf.ntotal > len(keys) or _stamp(keys[: ivf.ntotal]) != head[16:48]:
            return None
        return cls(ivf, int.from_bytes(head[8:16], "little"))


def lists_for(rows: int) -> int:
    """Number of lists for n rows: the square root balances choosing lists and scanning them."""
    return max(1, math.isqrt(rows))


def sample_size(rows: int) -> int:
    """Rows worth training on."""
    return min(rows, _POINTS_PER_LIST * lists_for(rows))


def _stamp(keys: list[bytes]) -> bytes:
    return hashlib.sha256(b"".join(keys)).digest()
